/**
 * The replay of one run. The page is whole without it: the server writes every frame, and this
 * only brings the one that is asked for. It shows what it gets as text and as elements that the
 * server made; nothing of a run is ever read as a program.
 */
import { render } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { HELP, wish } from "./keys";
import { Lanes } from "./lanes";
import { List, PAGE } from "./list";
import { joined, type Index, type Row } from "./wire";

/** Frames that stay at hand once they were looked at. */
const KEPT = 60;
/** Milliseconds a frame at normal speed. */
const PACE = 700;
/** Milliseconds until the address names the frame: browsers limit how often it may change. */
const SETTLED = 200;

type Dialog = "find" | "number" | "help" | null;

interface Policy {
  createHTML(text: string): string;
}
const trusted = (
  window as unknown as { trustedTypes?: { createPolicy(name: string, rules: Policy): Policy } }
).trustedTypes?.createPolicy("replay", { createHTML: (text) => text });

async function asked(address: string, signal?: AbortSignal): Promise<Response> {
  const answer = await fetch(address, signal ? { signal } : {});
  // Logged out meanwhile: the page as it is now asks for that.
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error(`The console answered ${answer.status}.`);
  return answer;
}

// Drawn, since few fonts have all of them.
const ICONS = {
  first: "M3 3h2v10H3zM13 3v10L6 8z",
  back: "M11 3v10L4 8z",
  play: "M4 2.5v11L13 8z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  on: "M5 3v10l7-5z",
  last: "M11 3h2v10h-2zM3 3v10l7-5z",
};

function Icon(props: { of: keyof typeof ICONS }) {
  return (
    <svg width="16" height="16" viewBox="0 0 16 16" fill="currentColor" aria-hidden="true">
      <path d={ICONS[props.of]} />
    </svg>
  );
}

/** Where a piece of a run is. */
function piece(run: string, what: string, more: Record<string, string | number> = {}): string {
  const about = new URLSearchParams({ id: run });
  for (const [name, value] of Object.entries(more)) about.set(name, String(value));
  return `/run${what}?${about}`;
}

function Replay(props: { run: string; index: Index; at: number; first: Node[] }) {
  const { run } = props;
  const [index, setIndex] = useState(props.index);
  const [at, setAt] = useState(props.at);
  const [mode, setMode] = useState<"still" | "play" | "live">("still");
  const [fast, setFast] = useState(false);
  const [known, setKnown] = useState(props.index.frames);
  const [dialog, show] = useState<Dialog>(null);
  const [said, setSaid] = useState("");
  const [rows, setRows] = useState(new Map<number, Row[]>());
  const panel = useRef<HTMLElement>(null);
  const frames = useRef(new Map<number, Node[]>([[props.at, props.first]]));
  const coming = useRef(new Set<number>());
  const latest = useRef({ index, at, mode });
  latest.current = { index, at, mode };
  // Known at once, and not when the dialog has come: what is typed meanwhile is no key of ours.
  const asking = useRef<Dialog>(null);
  const setDialog = useCallback((what: Dialog) => {
    asking.current = what;
    show(what);
  }, []);

  const go = useCallback((to: number) => {
    setMode("still");
    setSaid("");
    setKnown(latest.current.index.frames);
    setAt(to);
  }, []);

  const need = useCallback((page: number) => {
    if (coming.current.has(page)) return;
    coming.current.add(page);
    asked(piece(run, "/rows", { from: page * PAGE + 1 }))
      .then((answer) => answer.json())
      .then((found: Row[]) => setRows((before) => new Map(before).set(page, found)))
      .catch(() => coming.current.delete(page));
  }, []);

  const frame = useCallback(async (number: number, signal?: AbortSignal): Promise<Node[]> => {
    const kept = frames.current.get(number);
    if (kept) return kept;
    const answer = await asked(piece(run, "/frame", { number }), signal);
    const text = await answer.text();
    const made = new DOMParser().parseFromString(trusted?.createHTML(text) ?? text, "text/html");
    const nodes = [...made.body.childNodes];
    frames.current.set(number, nodes);
    for (const old of frames.current.keys()) {
      if (frames.current.size <= KEPT) break;
      frames.current.delete(old);
    }
    return nodes;
  }, []);

  useEffect(() => {
    const over = new AbortController();
    frame(at, over.signal)
      .then((nodes) => {
        if (over.signal.aborted) return;
        // What stands there already keeps its place, and its scrolling.
        if (panel.current?.firstChild !== nodes[0]) {
          panel.current?.replaceChildren(...nodes);
          panel.current?.scrollTo(0, 0);
        }
        // What is looked at next is most often what stands beside it.
        for (const near of [at + 1, at - 1]) {
          if (near >= 1 && near <= latest.current.index.frames) void frame(near, over.signal).catch(() => {});
        }
      })
      .catch((problem: Error) => {
        if (!over.signal.aborted) setSaid(`Frame ${at} could not be shown. ${problem.message}`);
      });
    const settled = setTimeout(() => history.replaceState(null, "", piece(run, "", { frame: at })), SETTLED);
    return () => {
      over.abort();
      clearTimeout(settled);
    };
  }, [at, index]);

  useEffect(() => {
    if (mode !== "play") return;
    const turn = setInterval(() => {
      if (latest.current.at < latest.current.index.frames) setAt(latest.current.at + 1);
      else setMode("still");
    }, fast ? PACE / 10 : PACE);
    return () => clearInterval(turn);
  }, [mode, fast]);

  useEffect(() => {
    if (props.index.over) return;
    const live = new EventSource(piece(run, "/live", { size: props.index.size }));
    live.addEventListener("grown", (event) => {
      const part = JSON.parse(event.data) as Index;
      const whole = joined(latest.current.index, part);
      for (const number of [...frames.current.keys()]) {
        if (number >= part.first) frames.current.delete(number);
      }
      for (const [number] of part.forks) frames.current.delete(number);
      const stale = Math.floor((part.first - 1) / PAGE);
      for (const page of [...coming.current]) if (page >= stale) coming.current.delete(page);
      setRows((before) => new Map([...before].filter(([page]) => page < stale)));
      setIndex(whole);
      if (latest.current.mode === "live") {
        setKnown(whole.frames);
        setAt(whole.frames);
      }
      if (whole.over) live.close();
    });
    return () => live.close();
  }, []);

  const copy = async () => {
    const link = location.origin + piece(run, "", { frame: latest.current.at });
    try {
      await navigator.clipboard.writeText(link);
      setSaid("The link to this frame is copied. Whoever opens it has to log in.");
    } catch {
      setSaid(link);
    }
  };

  const act = (key: string): boolean => {
    const wanted = wish(key, latest.current.index, latest.current.at);
    if (!wanted) return false;
    switch (wanted.do) {
      case "go": go(wanted.to); setSaid(wanted.say ?? ""); break;
      case "into": location.assign(piece(run, "/into", { number: latest.current.at })); break;
      case "out": {
        const up = document.querySelector<HTMLAnchorElement>("a[rel=up]");
        if (up) location.assign(up.href);
        else setSaid("This run is within no other.");
        break;
      }
      case "say": setSaid(wanted.nothing); break;
      case "play": setMode((before) => (before === "play" ? "still" : "play")); break;
      case "live":
        setMode((before) => (before === "live" ? "still" : "live"));
        setKnown(latest.current.index.frames);
        setAt(latest.current.index.frames);
        break;
      case "diff": location.assign(`/runs/diff?a=${encodeURIComponent(run)}`); break;
      case "copy": void copy(); break;
      default: setDialog(wanted.do);
    }
    return true;
  };

  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      const where = event.target as HTMLElement;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Escape") setDialog(null);
      if (asking.current) return;
      if (where.closest("input:not([type=range]), textarea, select, dialog")) return;
      // What has the focus keeps the keys that it has a use for itself.
      const own = where.closest("a, button, summary, pre, input");
      if (own && [" ", "Enter", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home", "End"].includes(event.key)) return;
      if (act(event.key)) event.preventDefault();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);

  const find = async (text: string) => {
    setDialog(null);
    try {
      const answer = await asked(piece(run, "/find", { text, after: latest.current.at }));
      const found = (await answer.json()) as { frame: number | null };
      if (found.frame === null) setSaid(`Nothing further says “${text}”.`);
      else go(found.frame);
    } catch (problem) {
      setSaid(`It could not be looked for. ${(problem as Error).message}`);
    }
  };

  const fresh = index.frames - known;
  return (
    <>
      <Lanes index={index} at={at} go={go} />
      <div class="panes">
        <List index={index} at={at} rows={rows} need={need} go={go} />
        <article ref={panel} class="frame" aria-label="Frame" tabindex={0} />
      </div>
      <div class="transport" role="toolbar" aria-label="Playback">
        <button class="quiet" aria-label="First frame" onClick={() => act("Home")}><Icon of="first" /></button>
        <button class="quiet" aria-label="Frame before" onClick={() => act("k")}><Icon of="back" /></button>
        <button class="quiet" aria-pressed={mode === "play"} aria-label={mode === "play" ? "Pause" : "Play"} onClick={() => act(" ")}>
          <Icon of={mode === "play" ? "pause" : "play"} />
        </button>
        <button class="quiet" aria-label="Next frame" onClick={() => act("j")}><Icon of="on" /></button>
        <button class="quiet" aria-label="Last frame" onClick={() => act("End")}><Icon of="last" /></button>
        <button class="quiet" aria-pressed={fast} onClick={() => setFast(!fast)}>{fast ? "10×" : "1×"}</button>
        {!index.over && (
          <button class="quiet" aria-pressed={mode === "live"} onClick={() => act("f")}>
            {mode === "live" ? "● Live" : fresh > 0 ? `Live, +${fresh} new` : "Live"}
          </button>
        )}
        <span class="said" role="status">{said || `Frame ${at} of ${index.frames}`}</span>
        <span class="keys" aria-hidden="true">
          <kbd>j</kbd> <kbd>k</kbd> step <kbd>n</kbd> next denied or asked <kbd>l</kbd> <kbd>h</kbd> in, out <kbd>/</kbd> find
        </span>
        <button class="quiet" onClick={() => setDialog("help")}><kbd>?</kbd> all keys</button>
      </div>
      {dialog && (
        <Asking
          what={dialog}
          most={index.frames}
          close={() => setDialog(null)}
          find={find}
          go={(to) => { setDialog(null); go(to); }}
        />
      )}
    </>
  );
}

function Asking(props: {
  what: "find" | "number" | "help";
  most: number;
  close: () => void;
  find: (text: string) => void;
  go: (frame: number) => void;
}) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    box.current?.showModal();
  }, []);
  const entered = (event: SubmitEvent) => {
    event.preventDefault();
    const value = String(new FormData(event.target as HTMLFormElement).get("value") ?? "").trim();
    if (props.what === "find" && value) props.find(value);
    else if (props.what === "number" && Number(value) >= 1) {
      props.go(Math.min(Math.floor(Number(value)), props.most));
    } else props.close();
  };
  return (
    <dialog ref={box} onClose={props.close} aria-label={props.what === "help" ? "Keys" : "Go"}>
      {props.what === "help" ? (
        <>
          <dl class="help">
            {HELP.map(([keys, what]) => (
              <div key={keys}>
                <dt>{keys.split(" ").map((each) => <kbd key={each}>{each}</kbd>)}</dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
          <button autofocus onClick={props.close}>Close</button>
        </>
      ) : (
        <form class="stack" onSubmit={entered}>
          <label for="value">{props.what === "find" ? "Find in this run" : `Frame, 1 to ${props.most}`}</label>
          <input
            id="value"
            name="value"
            autofocus
            autocomplete="off"
            maxlength={200}
            {...(props.what === "number" ? { inputMode: "numeric" as const } : {})}
          />
          <button class="yes">{props.what === "find" ? "Find" : "Go"}</button>
        </form>
      )}
    </dialog>
  );
}

async function begin(root: HTMLElement): Promise<void> {
  const run = root.dataset["replay"] ?? "";
  const index = (await (await asked(piece(run, "/index"))).json()) as Index;
  if (!index.frames) return;
  const at = Math.min(Math.max(Number(root.dataset["at"] ?? 1), 1), index.frames);
  const first = [...(root.querySelector(".frame")?.childNodes ?? [])];
  root.replaceChildren();
  root.classList.add("alive");
  render(<Replay run={run} index={index} at={at} first={first} />, root);
}

const root = document.querySelector<HTMLElement>("[data-replay]");
if (root) void begin(root);
