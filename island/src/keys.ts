import { failed, fork, halted, next, tool, type Fork, type Index } from "./wire";

/** What a key asks for. Where a jump finds nothing, `nothing` is what to say. */
export type Wish =
  | { do: "go"; to: number; say?: string }
  | { do: "say"; nothing: string }
  | { do: "mark"; mark: "right" | "false" }
  | {
      do:
        | "rule" | "into" | "out" | "play" | "live" | "find" | "number" | "diff" | "export" | "copy"
        | "help";
    };

const NONE: Fork = [0, 0, 0, 0, 0];
const stopped = ([, , denied, asked]: Fork) => denied + asked;
const broken = ([, , , , failures]: Fork) => failures;

export const HELP: [keys: string, what: string][] = [
  ["j k ↓ ↑", "step"],
  ["n N", "next or previous that was denied or asked about"],
  ["e E", "next or previous that failed"],
  ["] [", "next or previous call of the same tool"],
  ["l h → ←", "into a run that began at this frame, and back out"],
  ["Home End", "first, last"],
  ["/", "find text"],
  ["g", "go to a frame by its number, or with none to the last"],
  ["space", "play and pause"],
  ["f", "follow what happens now"],
  ["d", "compare with another run"],
  ["r", "make a rule of this call"],
  ["+ -", "say that to stop it is right, or a false alarm; once more takes it back"],
  ["x", "export it as a file"],
  ["y", "copy a link to this frame"],
  ["?", "these keys"],
];

/** A key pressed at a frame, as what is to be done; undefined where it means nothing here. */
export function wish(key: string, index: Index, at: number): Wish | undefined {
  // What happened in a run that began at a frame counts there too, and the answer says so.
  const jump = (
    way: 1 | -1,
    what: string,
    fits: (frame: number) => boolean,
    inside: (runs: Fork) => number = () => 0,
  ): Wish => {
    const there = (frame: number) => inside(fork(index, frame) ?? NONE) > 0;
    const to = next(index, at, way, (frame) => fits(frame) || there(frame));
    if (to !== undefined && !fits(to)) {
      return { do: "go", to, say: `Frame ${to}: what ${what} is within a run that began here. l goes in.` };
    }
    if (to !== undefined) return { do: "go", to };
    return { do: "say", nothing: `No ${way === 1 ? "further" : "earlier"} frame ${what}.` };
  };
  const step = (to: number): Wish => ({ do: "go", to: Math.min(Math.max(to, 1), index.frames) });
  const same = (frame: number) =>
    tool(index, frame) !== undefined && tool(index, frame) === tool(index, at);
  switch (key) {
    case "j": case "ArrowDown": return step(at + 1);
    case "k": case "ArrowUp": return step(at - 1);
    case "PageDown": return step(at + 10);
    case "PageUp": return step(at - 10);
    case "Home": return step(1);
    case "End": return step(index.frames);
    case "n": return jump(1, "was denied or asked about", (frame) => halted(index, frame), stopped);
    case "N": return jump(-1, "was denied or asked about", (frame) => halted(index, frame), stopped);
    case "e": return jump(1, "failed", (frame) => failed(index, frame), broken);
    case "E": return jump(-1, "failed", (frame) => failed(index, frame), broken);
    case "]": return jump(1, "is of the same tool", same);
    case "[": return jump(-1, "is of the same tool", same);
    case "l": case "ArrowRight":
      return fork(index, at) ? { do: "into" } : { do: "say", nothing: "No run began at this frame." };
    case "h": case "ArrowLeft": return { do: "out" };
    case "/": return { do: "find" };
    case "g": return { do: "number" };
    case " ": return { do: "play" };
    case "f": return { do: "live" };
    case "d": return { do: "diff" };
    case "r": return { do: "rule" };
    case "+": return { do: "mark", mark: "right" };
    case "-": return { do: "mark", mark: "false" };
    case "x": return { do: "export" };
    case "y": return { do: "copy" };
    case "?": return { do: "help" };
    default: return undefined;
  }
}

/** Where it goes on to from a frame, by the key that was pressed last, and to what was denied. */
export function likely(key: string, index: Index, at: number, most: number): number[] {
  const found: number[] = [];
  for (let from = at; found.length < most; ) {
    const wanted = wish(key, index, from);
    if (wanted?.do !== "go" || wanted.to === from) break;
    found.push((from = wanted.to));
  }
  const halted = wish("n", index, at);
  if (halted?.do === "go" && !found.includes(halted.to)) found.push(halted.to);
  return found;
}
