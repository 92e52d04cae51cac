/** Frames that stay at hand once they were looked at. */
const KEPT = 120;
/** Frames that are asked for before anybody goes there, in one request. */
export const AHEAD = 16;

type Load = (numbers: number[], signal: AbortSignal) => Promise<[number: number, text: string][]>;
type Made = (text: string) => Node[];

/**
 * The frames of a run that are at hand, and those that are on their way. The key that was pressed
 * last is most often pressed again, so where it leads is there before it.
 */
export class Frames {
  private kept = new Map<number, string | Node[]>();
  private coming = new Map<number, Promise<void>>();
  /** What was asked for and has not come, of each request what still holds. */
  private asked = new Set<Set<number>>();
  private ahead: { numbers: number[]; over: AbortController } | undefined;

  constructor(private load: Load, private made: Made, first: number, nodes: Node[]) {
    if (nodes.length) this.kept.set(first, nodes);
  }

  /** A frame that is at hand. */
  here(number: number): Node[] | undefined {
    const found = this.kept.get(number);
    if (found === undefined) return undefined;
    const nodes = typeof found === "string" ? this.made(found) : found;
    // Those that were looked at last stay longest.
    this.kept.delete(number);
    this.kept.set(number, nodes);
    return nodes;
  }

  /** A frame; once it has come, with what has been asked for meanwhile by others. */
  async get(number: number, signal: AbortSignal): Promise<Node[]> {
    const on = this.coming.get(number);
    if (on) await on.catch(() => {});
    signal.throwIfAborted();
    if (!this.kept.has(number)) await this.ask([number], signal);
    const nodes = this.here(number);
    if (!nodes) throw new Error("It has changed meanwhile.");
    return nodes;
  }

  /** Have at hand what is likely to be looked at, the likeliest first. */
  prepare(likely: number[]): void {
    const missing = likely.filter((each) => !this.kept.has(each) && !this.coming.has(each));
    // Asked for in one go, while there are some left, and not one more for each step.
    if (!missing.some((each) => likely.indexOf(each) < AHEAD / 2)) return;
    // Where nobody goes any more.
    if (this.ahead && !this.ahead.numbers.some((each) => likely.includes(each))) this.ahead.over.abort();
    this.ahead = { numbers: missing, over: new AbortController() };
    void this.ask(missing, this.ahead.over.signal).catch(() => {});
  }

  /** From this frame on, and at some before it, what was so is no longer. */
  forget(first: number, before: number[]): void {
    const others = new Set(before);
    for (const known of [this.kept, this.coming, ...this.asked]) {
      for (const number of [...known.keys()]) {
        if (number >= first || others.has(number)) known.delete(number);
      }
    }
  }

  private async ask(numbers: number[], signal: AbortSignal): Promise<void> {
    const own = new Set(numbers);
    this.asked.add(own);
    const loaded = this.load(numbers, signal).then((found) => {
      for (const [number, text] of found) {
        if (own.has(number) && !this.kept.has(number)) this.kept.set(number, text);
      }
      for (const old of this.kept.keys()) {
        if (this.kept.size <= KEPT) break;
        this.kept.delete(old);
      }
    });
    for (const number of numbers) this.coming.set(number, loaded);
    try {
      await loaded;
    } finally {
      this.asked.delete(own);
      for (const number of numbers) if (this.coming.get(number) === loaded) this.coming.delete(number);
    }
  }
}
