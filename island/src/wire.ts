/** The outline of a run as the console tells it: one small row a frame, by columns. */
export interface Index {
  /** The frame that the columns begin with; the first of a run is 1. */
  first: number;
  /** How many frames the run has. */
  frames: number;
  /** The number of the ledger's entry after the newest that this knows of. */
  size: number;
  /** Whether the run has ended. */
  over: boolean;
  tools: string[];
  legend: { mark: Record<string, Mark> };
  /** A letter a frame, which `legend.mark` reads. */
  mark: string;
  /** A letter a frame, `.` for none. */
  kind: string;
  verdict: string;
  status: string;
  /** For each frame its tool, as a place in `tools`; -1 for none. */
  tool: number[];
  /** Microseconds that each frame took, 0 where that is not known. */
  latency: number[];
  /** Bits a frame: see `FLAGS`. */
  marks: number[];
  /** Where runs began within this one; of a part, only those of which something has changed. */
  forks: Fork[];
}

/** A frame at which runs began, how many are within by now, and how much happened in them. */
export type Fork = [frame: number, runs: number, denied: number, asked: number, failed: number];

/** One frame in one line. */
export type Row = [what: string, said: string];

export type Mark = [tone: string, icon: string, word: string];

export const FLAGS = { near: 1935, shadow: 16, asked: 32, changed: 64 } as const;

/** For a frame its colour, its icon and its word: colour never stands alone. */
export function mark(index: Index, frame: number): Mark {
  return index.legend.mark[index.mark[frame - 1] ?? ""] ?? ["model", "·", "frame"];
}

export function has(index: Index, frame: number, flag: number): boolean {
  return ((index.marks[frame - 1] ?? 0) & flag) !== 0;
}

/** Whether it was denied, put off, asked about, or a switch was turned. */
export function halted(index: Index, frame: number): boolean {
  return (
    "d?l".includes(index.verdict[frame - 1] ?? ".")
    || index.kind[frame - 1] === "x"
    || has(index, frame, FLAGS.asked | FLAGS.changed)
  );
}

export function failed(index: Index, frame: number): boolean {
  return "etu".includes(index.status[frame - 1] ?? ".");
}

const places = new WeakMap<Fork[], Map<number, Fork>>();

/** What began at a frame, if anything did. */
export function fork(index: Index, frame: number): Fork | undefined {
  let found = places.get(index.forks);
  if (!found) places.set(index.forks, (found = new Map(index.forks.map((each) => [each[0], each]))));
  return found.get(frame);
}

export function tool(index: Index, frame: number): string | undefined {
  return index.tools[index.tool[frame - 1] ?? -1];
}

/** Microseconds that a frame took, 0 where nobody knows. */
export function took(index: Index, frame: number): number {
  return index.latency[frame - 1] ?? 0;
}

/** Take in what has come or gone on since: from `part.first` on, the part holds. */
export function joined(index: Index, part: Index): Index {
  const kept = part.first - 1;
  // The places of tools may be others now, and those of before are looked up by name.
  const place = index.tools.map((name) => part.tools.indexOf(name));
  const tools = [...part.tools, ...index.tools.filter((name) => !part.tools.includes(name))];
  const before = index.tool.slice(0, kept).map((at) =>
    at < 0 ? at : (place[at] ?? -1) >= 0 ? place[at]! : tools.indexOf(index.tools[at]!));
  return {
    ...part,
    first: 1,
    tools,
    mark: index.mark.slice(0, kept) + part.mark,
    kind: index.kind.slice(0, kept) + part.kind,
    verdict: index.verdict.slice(0, kept) + part.verdict,
    status: index.status.slice(0, kept) + part.status,
    tool: before.concat(part.tool),
    latency: index.latency.slice(0, kept).concat(part.latency),
    marks: index.marks.slice(0, kept).concat(part.marks),
    forks: [...new Map([...index.forks, ...part.forks].map((each) => [each[0], each])).values()],
  };
}

/** The next frame in a direction that fits, if there is one. */
export function next(
  index: Index,
  after: number,
  way: 1 | -1,
  fits: (frame: number) => boolean,
): number | undefined {
  for (let frame = after + way; frame >= 1 && frame <= index.frames; frame += way) {
    if (fits(frame)) return frame;
  }
  return undefined;
}

/** A length of time, said as the pages say it; nothing for none. */
export function span(microseconds: number): string {
  const seconds = microseconds / 1_000_000;
  if (microseconds <= 0) return "";
  if (seconds < 1e-4) return `${microseconds} µs`;
  if (seconds < 0.01) return `${(seconds * 1_000).toFixed(1)} ms`;
  if (seconds < 1) return `${(seconds * 1_000).toFixed(0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(Math.round(seconds) / 60);
  if (minutes < 60) return `${minutes} m ${String(Math.round(seconds) % 60).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} m`;
}
