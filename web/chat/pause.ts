/** Waits so many milliseconds, or until the signal. */
export function pause(milliseconds: number, until: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (until.aborted) {
      done();
      return;
    }
    const end = () => {
      clearTimeout(timer);
      until.removeEventListener("abort", end);
      done();
    };
    const timer = setTimeout(end, milliseconds);
    until.addEventListener("abort", end);
  });
}
