const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const day = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
const dayAndYear = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric" });

export const timeOf = (moment: string) => time.format(new Date(moment));

/** The time of what was today, else the date: for lists. */
export function whenOf(moment: string): string {
  return daysAgo(moment) === 0 ? timeOf(moment) : date.format(new Date(moment));
}

/** The day, as a separator names it. */
export function dayOf(moment: string): string {
  const ago = daysAgo(moment);
  if (ago === 0) {
    return "Today";
  }
  if (ago === 1) {
    return "Yesterday";
  }
  return (ago < 300 ? day : dayAndYear).format(new Date(moment));
}

function daysAgo(moment: string): number {
  const midnight = (of: Date) => new Date(of.getFullYear(), of.getMonth(), of.getDate()).getTime();
  return Math.round((midnight(new Date()) - midnight(new Date(moment))) / 86_400_000);
}
