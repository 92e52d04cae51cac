import { failed, halted, next, tool, type Index } from "./wire";

/** What a key asks for. Where a jump finds nothing, `nothing` is what to say. */
export type Wish =
  | { do: "go"; to: number }
  | { do: "say"; nothing: string }
  | { do: "play" | "live" | "find" | "number" | "diff" | "copy" | "help" };

export const HELP: [keys: string, what: string][] = [
  ["j k ↓ ↑", "step"],
  ["n N", "next or previous that was denied or asked about"],
  ["e E", "next or previous that failed"],
  ["] [", "next or previous call of the same tool"],
  ["Home End", "first, last"],
  ["/", "find text"],
  ["g", "go to a frame by its number"],
  ["space", "play and pause"],
  ["f", "follow what happens now"],
  ["d", "compare with another run"],
  ["y", "copy a link to this frame"],
  ["?", "these keys"],
];

/** A key pressed at a frame, as what is to be done; undefined where it means nothing here. */
export function wish(key: string, index: Index, at: number): Wish | undefined {
  const jump = (way: 1 | -1, what: string, fits: (frame: number) => boolean): Wish => {
    const to = next(index, at, way, fits);
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
    case "n": return jump(1, "was denied or asked about", (frame) => halted(index, frame));
    case "N": return jump(-1, "was denied or asked about", (frame) => halted(index, frame));
    case "e": return jump(1, "failed", (frame) => failed(index, frame));
    case "E": return jump(-1, "failed", (frame) => failed(index, frame));
    case "]": return jump(1, "is of the same tool", same);
    case "[": return jump(-1, "is of the same tool", same);
    case "/": return { do: "find" };
    case "g": return { do: "number" };
    case " ": return { do: "play" };
    case "f": return { do: "live" };
    case "d": return { do: "diff" };
    case "y": return { do: "copy" };
    case "?": return { do: "help" };
    default: return undefined;
  }
}
