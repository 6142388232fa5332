// Each user has tabs and a history of their own, so that examples addressed to Ben are not shown to Ben. The theme is everyone's.
const shared = new Set(["graphiql:theme"]);

export function storageOf(userId) {
  const { localStorage } = window;
  const own = `directmessages:${encodeURIComponent(userId ?? "")}:`;
  const keyOf = (key) => (shared.has(key) ? key : own + key);
  const ownKeys = () => Object.keys(localStorage).filter((key) => key.startsWith(own));
  return {
    getItem: (key) => localStorage.getItem(keyOf(key)),
    setItem: (key, value) => localStorage.setItem(keyOf(key), value),
    removeItem: (key) => localStorage.removeItem(keyOf(key)),
    clear: () => ownKeys().forEach((key) => localStorage.removeItem(key)),
    get length() {
      return ownKeys().length;
    },
  };
}
