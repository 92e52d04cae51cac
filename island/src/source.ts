import type { Index, Row } from "./wire";

/** Frames that a page of a source has; rows are asked for in pages of as many. */
export const PAGE = 100;

/** What people say of a call: its mark, and in words. */
export interface Said {
  mark: string | null;
  said: string;
}

/** Where the pieces of a run come from. What is given as markup was made by the server's templates. */
export interface Source {
  index(): Promise<Index>;
  /** Rows of a page; pages count from 0. */
  rows(page: number): Promise<Row[]>;
  /** Some frames, each with its number; those that there are not are left out. */
  frames(numbers: number[], signal: AbortSignal): Promise<[number: number, text: string][]>;
  /** The next frame after one that has some words. Throws what is wrong with them. */
  find(text: string, after: number): Promise<number | null>;
  /** Where a frame is, for the address of the page and for links. */
  address(frame: number): string;
  /** What is said once a link is copied. */
  copied: string;
  /**
   * What grows from `size` on, until `grown` says that it is over; undefined where nothing does.
   * `heard` is told whether it is being told just now, and `refused` is called once nothing is told
   * any more. While nobody sees the page nothing is told, and all of it once somebody does.
   * Returns what ends it.
   */
  live?(
    size: () => number, grown: (part: Index) => boolean, heard: (now: boolean) => void, refused: () => void,
  ): () => void;
  /** The figures at the head of the page as they are now, where they change. */
  head?(): Promise<string>;
  /** Say of a call what stopping it is, as its form would; what is said of it then. */
  say?(form: HTMLFormElement, mark: string): Promise<Said>;
  /** Where the run is compared with another; undefined where that cannot be. */
  compare?: string;
  /** Where a run that began at a frame is; undefined where no other run is at hand. */
  into?(frame: number): string;
}

/** A frame that no run has. */
const NONE = 999_999_999;

async function asked(address: string, signal?: AbortSignal): Promise<Response> {
  const answer = await fetch(address, signal ? { signal } : {});
  // Logged out meanwhile: the page as it is now asks for that.
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(`The console answered ${answer.status}.`);
  return answer;
}

/** A run that the console serves, piece by piece. */
export function served(run: string): Source {
  const piece = (what: string, more: Record<string, string | number> = {}): string => {
    const about = new URLSearchParams({ id: run });
    for (const [name, value] of Object.entries(more)) about.set(name, String(value));
    return `/run${what}?${about}`;
  };
  return {
    index: async () => (await (await asked(piece("/index"))).json()) as Index,
    rows: async (page) => (await (await asked(piece("/rows", { from: page * PAGE + 1 }))).json()) as Row[],
    frames: async (numbers, signal) =>
      (await asked(piece("/frames", { numbers: numbers.join(" ") }), signal)).json(),
    find: async (text, after) => {
      const answer = await asked(piece("/find", { text, after }));
      const found = (await answer.json()) as { frame: number | null; why?: string };
      if (found.why) throw new Error(found.why);
      return found.frame;
    },
    address: (frame) => piece("", { frame }),
    copied: "The link to this frame is copied. Whoever opens it has to log in.",
    live: (size, grown, heard, refused) => {
      let live: EventSource | undefined;
      const listen = () => {
        const stream = (live = new EventSource(piece("/live", { size: size() })));
        stream.addEventListener("grown", (event) => {
          if (grown(JSON.parse(event.data) as Index)) end();
        });
        stream.addEventListener("open", () => heard(true));
        stream.addEventListener("error", () => {
          heard(false);
          // Otherwise it comes back by itself. Why it does not is told to no page: whoever is logged
          // out finds that out by asking for anything else.
          if (stream.readyState === EventSource.CLOSED) {
            asked(piece("/rows", { from: NONE })).then(refused, refused);
          }
        });
      };
      // A browser has six connections to a server, for all of its pages together.
      const seen = () => {
        live?.close();
        if (!document.hidden) listen();
      };
      const end = () => {
        live?.close();
        document.removeEventListener("visibilitychange", seen);
      };
      document.addEventListener("visibilitychange", seen);
      seen();
      return end;
    },
    head: async () => (await asked(piece("/head"))).text(),
    say: async (form, mark) => {
      const body = new URLSearchParams();
      for (const [name, value] of new FormData(form)) body.set(name, String(value));
      body.set("mark", mark);
      body.set("part", "yes");
      const answer = await fetch(form.action, { method: "POST", body });
      if (answer.redirected || answer.status === 401) location.reload();
      if (!answer.ok) throw new Error(await answer.text());
      return (await answer.json()) as Said;
    },
    compare: `/runs/diff?a=${encodeURIComponent(run)}`,
    into: (frame) => piece("/into", { number: frame }),
  };
}

interface Page {
  rows: Row[];
  frames: string[];
}

/** Pages that stay unpacked once they were looked at. */
const UNPACKED = 6;

async function unpacked<Kind>(name: string): Promise<Kind> {
  const text = document.getElementById(name)?.textContent ?? "";
  const data = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("gzip"));
  return (await new Response(stream).json()) as Kind;
}

const NAMED: Record<string, string> = { amp: "&", lt: "<", gt: ">" };

/** What a frame says, in lower case, without the markup around it. */
function words(frame: string): string {
  return frame
    .replace(/<[^>]*>/g, " ")
    .replace(/&(?:#(\d+)|(amp|lt|gt));/g, (_, code, name) => NAMED[name] ?? String.fromCodePoint(Number(code)))
    .toLowerCase();
}

/** A run that the page brings with it, packed: nothing is asked for anywhere. */
export function carried(): Source {
  const pages = new Map<number, Promise<Page>>();
  let frames = 0;
  const page = (number: number): Promise<Page> => {
    const found = pages.get(number) ?? unpacked<Page>(`page-${number}`);
    pages.delete(number);
    pages.set(number, found);
    for (const old of pages.keys()) {
      if (pages.size <= UNPACKED) break;
      pages.delete(old);
    }
    return found;
  };
  return {
    index: async () => {
      const index = await unpacked<Index>("outline");
      frames = index.frames;
      return index;
    },
    rows: async (number) => (await page(number)).rows,
    frames: async (numbers, signal) => {
      const found: [number: number, text: string][] = [];
      for (const number of numbers) {
        signal.throwIfAborted();
        const text = (await page(Math.floor((number - 1) / PAGE))).frames[(number - 1) % PAGE];
        if (text !== undefined) found.push([number, text]);
      }
      return found;
    },
    find: async (text, after) => {
      const wanted = text.toLowerCase();
      for (let at = Math.floor(after / PAGE); at * PAGE < frames; at++) {
        const place = (await page(at)).frames.findIndex(
          (each, place) => at * PAGE + place >= after && words(each).includes(wanted));
        if (place >= 0) return at * PAGE + place + 1;
      }
      return null;
    },
    address: (frame) => `#run&frame=${frame}`,
    copied: "The link to this frame is copied. It leads to this file, where that lies now.",
  };
}
