/**
 * The replay of one run. The page is whole without it: the server writes every frame, and this
 * only brings the one that is asked for. It shows what it gets as text and as elements that the
 * server made; nothing of a run is ever read as a program.
 */
import { render } from "preact";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { AHEAD, Frames } from "./frames";
import { HELP, likely, wish } from "./keys";
import { Lanes } from "./lanes";
import { List } from "./list";
import { carried, PAGE, served, type Source } from "./source";
import { joined, type Index, type Row } from "./wire";

/** Milliseconds a frame at normal speed. */
const PACE = 700;
/** Milliseconds until the address names the frame: browsers limit how often it may change. */
const SETTLED = 200;
/** Milliseconds until what could not be had is asked for again. */
const AGAIN = 2_000;

/** Keys that need the console. */
const ASKS = new Set(["f", "d", "r", "+ -", "x"]);

/** Rows that were asked for: up to which frame they hold, though some have changed meanwhile. */
interface Rows {
  upto: number;
}

type Dialog = "find" | "number" | "help" | null;

interface Policy {
  createHTML(text: string): string;
}
const trusted = (
  window as unknown as { trustedTypes?: { createPolicy(name: string, rules: Policy): Policy } }
).trustedTypes?.createPolicy("replay", { createHTML: (text) => text });

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

/** Keys that what has the focus has a use for itself. */
const OWN = new Set([
  " ", "Enter", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "PageUp", "PageDown", "Home", "End",
]);

/** Whether a key is for the replay, and for nothing that one is in. */
function ours(event: KeyboardEvent): boolean {
  const where = event.target as HTMLElement;
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  if (where.closest("input:not([type=range]), textarea, select, dialog")) return false;
  return !(OWN.has(event.key) && where.closest("a, button, summary, pre, input"));
}

/** The elements that the server has made of a frame. */
function made(text: string): Node[] {
  const parsed = new DOMParser().parseFromString(trusted?.createHTML(text) ?? text, "text/html");
  return [...parsed.body.childNodes];
}

function Replay(props: { source: Source; index: Index; at: number; first: Node[] }) {
  const { source } = props;
  const [index, setIndex] = useState(props.index);
  const [at, setAt] = useState(props.at);
  const [mode, setMode] = useState<"still" | "play" | "live">("still");
  const [fast, setFast] = useState(false);
  const [known, setKnown] = useState(props.index.frames);
  const [dialog, show] = useState<Dialog>(null);
  const [said, setSaid] = useState("");
  const [live, setLive] = useState(true);
  const [heard, setHeard] = useState(true);
  const alive = useRef(live);
  alive.current = live;
  const [rows, setRows] = useState(new Map<number, Row[]>());
  const panel = useRef<HTMLElement>(null);
  const frames = useRef<Frames | undefined>(undefined);
  frames.current ??= new Frames(source.frames, made, props.at, props.first);
  const shown = useRef<Node[] | undefined>(undefined);
  /** The frame that stands in the panel: on its way to another, it is not the one that one is at. */
  const standing = useRef(0);
  const scrolled = useRef(false);
  /** The key that was pressed last. */
  const pressed = useRef("j");
  const coming = useRef(new Map<number, Rows>());
  const flying = useRef(new Set<Rows>());
  const heading = useRef<number | undefined>(undefined);
  /** Counts what is looked for: whoever has moved on or looks for something else is not led there. */
  const looked = useRef(0);
  const latest = useRef({ index, at, mode });
  latest.current = { index, at, mode };
  // Known at once, and not when the dialog has come: what is typed meanwhile is no key of ours.
  const asking = useRef<Dialog>(null);
  const setDialog = useCallback((what: Dialog) => {
    asking.current = what;
    show(what);
  }, []);

  const go = useCallback((to: number) => {
    looked.current++;
    setMode("still");
    setSaid("");
    setKnown(latest.current.index.frames);
    setAt(to);
  }, []);

  const need = useCallback((page: number) => {
    if (coming.current.has(page)) return;
    const asked: Rows = { upto: Infinity };
    coming.current.set(page, asked);
    flying.current.add(asked);
    source.rows(page)
      .then((found) => {
        const held = found.slice(0, Math.max(asked.upto - page * PAGE, 0));
        setRows((before) =>
          held.length < (before.get(page)?.length ?? 0) ? before : new Map(before).set(page, held));
      })
      .catch(() => setTimeout(() => {
        if (coming.current.get(page) !== asked) return;
        coming.current.delete(page);
        setRows((before) => new Map(before));
      }, AGAIN))
      .finally(() => flying.current.delete(asked));
  }, []);

  // Before the page is drawn, so that what is at hand is there with the step itself.
  useLayoutEffect(() => {
    const over = new AbortController();
    const show = (nodes: Node[]) => {
      standing.current = at;
      panel.current?.removeAttribute("aria-busy");
      if (shown.current !== nodes) {
        shown.current = nodes;
        panel.current?.replaceChildren(...nodes);
        // Only where there is something to scroll, or the whole page is laid out once more for it.
        if (scrolled.current) panel.current?.scrollTo(0, 0);
        scrolled.current = false;
      }
      // As many as there are by now, and not when it was fetched.
      const total = panel.current?.querySelector("[data-total]");
      if (total) total.textContent = index.frames.toLocaleString("en");
      // After what is drawn now, which nothing shall hold up.
      setTimeout(() => {
        if (!over.signal.aborted) frames.current?.prepare(likely(pressed.current, index, at, AHEAD));
      });
    };
    let again: number | undefined;
    const bring = () => {
      frames.current?.get(at, over.signal)
        .then((nodes) => {
          if (over.signal.aborted) return;
          if (again !== undefined) setSaid("");
          show(nodes);
        })
        .catch((problem: Error) => {
          if (over.signal.aborted) return;
          setSaid(`Frame ${at} could not be shown, and is asked for again. ${problem.message}`);
          again = setTimeout(bring, AGAIN);
        });
    };
    const here = frames.current?.here(at);
    if (here) show(here);
    else {
      // What stands there is of another frame, and looks it.
      if (standing.current !== at) panel.current?.setAttribute("aria-busy", "true");
      bring();
    }
    const settled = setTimeout(() => history.replaceState(null, "", source.address(at)), SETTLED);
    return () => {
      over.abort();
      clearTimeout(again);
      clearTimeout(settled);
    };
  }, [at, index]);

  useEffect(() => {
    if (mode !== "play") return;
    pressed.current = "j";
    const turn = setInterval(() => {
      if (latest.current.at < latest.current.index.frames) setAt(latest.current.at + 1);
      else setMode("still");
    }, fast ? PACE / 10 : PACE);
    return () => clearInterval(turn);
  }, [mode, fast]);

  const take = useCallback((part: Index): Index => {
    const whole = joined(latest.current.index, part);
    frames.current?.forget(part.first, part.forks.map(([frame]) => frame));
    const stale = Math.floor((part.first - 1) / PAGE);
    for (const page of [...coming.current.keys()]) if (page >= stale) coming.current.delete(page);
    for (const each of flying.current) each.upto = Math.min(each.upto, part.first - 1);
    // What still holds stays in sight until the rest has come.
    setRows((before) => {
      const held = new Map([...before].filter(([page]) => page <= stale));
      const last = held.get(stale);
      if (last) held.set(stale, last.slice(0, part.first - 1 - stale * PAGE));
      return held;
    });
    setIndex(whole);
    // The figures at the head, once for all that comes within a while.
    heading.current ??= setTimeout(async () => {
      heading.current = undefined;
      const head = document.querySelector("[data-head-of-run]");
      const text = head && (await source.head?.().catch(() => undefined));
      if (text && !head.contains(document.activeElement)) head.replaceChildren(...made(text));
    }, AGAIN / 2);
    return whole;
  }, []);

  useEffect(() => {
    if (props.index.over) return;
    return source.live?.(() => latest.current.index.size, (part) => {
      const whole = take(part);
      if (latest.current.mode === "live") {
        setKnown(whole.frames);
        setAt(whole.frames);
      }
      return whole.over;
    }, (now) => {
      setHeard(now);
      if (now) setLive(true);
    }, () => {
      setMode((before) => (before === "live" ? "still" : before));
      setLive(false);
      setSaid("This page is not live: too many are. Press f to look for what is new.");
    });
  }, []);

  // What listens does so from the moment that there is something to see: an effect would wait for
  // the page to be drawn, and what is pressed or clicked until then be lost.
  // The buttons in a frame say it in place, as the keys do.
  useLayoutEffect(() => {
    const sent = (event: SubmitEvent) => {
      const button = event.submitter as HTMLButtonElement | null;
      const form = event.target as HTMLFormElement;
      if (!form.matches("form.label") || !button) return;
      event.preventDefault();
      void say(standing.current, form, button.value);
    };
    panel.current?.addEventListener("submit", sent);
  }, []);

  // A link within the page, to another frame of it.
  useLayoutEffect(() => {
    const moved = () => {
      const to = framed(location.hash);
      if (to) go(Math.min(to, latest.current.index.frames));
    };
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);

  /** Go to another page, and have this one be where it was when one comes back. */
  const leave = (to: string) => {
    history.replaceState(null, "", source.address(latest.current.at));
    location.assign(to);
  };

  /** What stands in the frame that one is at, once it is there: until then, another's does. */
  const within = async <Kind extends Element>(frame: number, selector: string) => {
    try {
      const nodes = await frames.current?.get(frame, new AbortController().signal);
      for (const each of nodes ?? []) {
        const found = each instanceof Element ? each.querySelector<Kind>(selector) : null;
        if (found) return found;
      }
      return null;
    } catch (problem) {
      setSaid(`Frame ${frame} could not be had. ${(problem as Error).message}`);
      return undefined;
    }
  };

  const look = async () => {
    const turn = ++looked.current;
    try {
      const before = latest.current.index.frames;
      const whole = take(await source.index());
      if (turn !== looked.current) return;
      if (whole.frames > before) go(whole.frames);
      else setSaid("Nothing has come since.");
    } catch (problem) {
      setSaid(`It could not be looked for. ${(problem as Error).message}`);
    }
  };

  const copy = async () => {
    const link = new URL(source.address(latest.current.at), location.href).href;
    try {
      await navigator.clipboard.writeText(link);
      setSaid(source.copied);
    } catch {
      setSaid(link);
    }
  };

  /** Say of the call at a frame what stopping it is; the form of that frame says how. */
  const say = async (frame: number, form: HTMLFormElement | null, mark: string) => {
    if (!form?.elements.namedItem("of")) {
      setSaid("To say something of a call, stand on one, logged in with your own secret.");
      return;
    }
    try {
      const told = await source.say?.(form, mark);
      if (!told) return;
      form.dataset["mark"] = told.mark ?? "";
      const is = form.querySelector(".is");
      if (is) is.textContent = told.said;
      setSaid(`Frame ${frame}: ${told.said || "nothing is said of it any more"}.`);
    } catch (problem) {
      setSaid(`It could not be said of frame ${frame}. ${(problem as Error).message}`);
    }
  };

  const mark = async (frame: number, wanted: string) => {
    const form = await within<HTMLFormElement>(frame, "form.label");
    if (form !== undefined) await say(frame, form, form?.dataset["mark"] === wanted ? "none" : wanted);
  };

  const rule = async (frame: number) => {
    const link = await within<HTMLAnchorElement>(frame, "a[data-rule]");
    if (link) leave(link.href);
    else if (link === null) setSaid("In the console, a rule is made of a call.");
  };

  const act = (key: string, held = false): boolean => {
    const wanted = wish(key, latest.current.index, latest.current.at);
    if (!wanted) return false;
    // A key that is held down steps on and on; what the others do is done once.
    if (held && wanted.do !== "go") return true;
    switch (wanted.do) {
      case "go":
        pressed.current = key;
        go(wanted.to);
        setSaid(wanted.say ?? "");
        break;
      case "into":
        if (source.into) leave(source.into(latest.current.at));
        else setSaid("Runs within this one did not go into this file.");
        break;
      case "out": {
        const up = document.querySelector<HTMLAnchorElement>("a[rel=up]");
        if (up) leave(up.href);
        else setSaid("This run is within no other.");
        break;
      }
      case "say": setSaid(wanted.nothing); break;
      case "play": setMode((before) => (before === "play" ? "still" : "play")); break;
      case "live":
        if (!source.live) {
          setSaid("This file does not change any more.");
          break;
        }
        if (!alive.current) {
          void look();
          break;
        }
        setMode((before) => (before === "live" ? "still" : "live"));
        setKnown(latest.current.index.frames);
        setAt(latest.current.index.frames);
        break;
      case "diff":
        if (source.compare) leave(source.compare);
        else setSaid("Two runs are compared in the console.");
        break;
      case "rule": void rule(latest.current.at); break;
      case "mark": void mark(latest.current.at, wanted.mark); break;
      case "export": {
        const link = document.querySelector<HTMLAnchorElement>("a[rel=export]");
        if (link) leave(link.href);
        else setSaid("This is of a file already: hand that on as it is.");
        break;
      }
      case "copy": void copy(); break;
      default: setDialog(wanted.do);
    }
    return true;
  };

  useLayoutEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (event.key === "Escape") setDialog(null);
      if (asking.current || !ours(event)) return;
      if (act(event.key, event.repeat)) event.preventDefault();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  }, []);

  const find = async (text: string) => {
    setDialog(null);
    const turn = ++looked.current;
    setSaid(`Looking for “${text}” …`);
    try {
      const found = await source.find(text, latest.current.at);
      if (turn !== looked.current) return;
      if (found === null) setSaid(`Nothing further says “${text}”.`);
      else go(found);
    } catch (problem) {
      if (turn === looked.current) setSaid(`It could not be looked for. ${(problem as Error).message}`);
    }
  };

  const fresh = index.frames - known;
  return (
    <>
      <Lanes index={index} at={at} go={go} />
      <div class="panes">
        <List index={index} at={at} rows={rows} need={need} go={go} />
        <article
          ref={panel}
          class="frame"
          aria-label="Frame"
          tabindex={0}
          onScroll={() => { scrolled.current = true; }}
        />
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
        {source.live && !index.over && !live && (
          <button class="quiet" onClick={() => act("f")}>Look for more</button>
        )}
        {source.live && !index.over && live && (
          <button class="quiet" aria-pressed={mode === "live"} onClick={() => act("f")}>
            {!heard ? "○ Cut off, trying again" : mode === "live" ? "● Live" : fresh > 0 ? `Live, +${fresh} new` : "Live"}
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
          served={source.live !== undefined}
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
  served: boolean;
  close: () => void;
  find: (text: string) => void;
  go: (frame: number) => void;
}) {
  const box = useRef<HTMLDialogElement>(null);
  // At once, before the next key: what is typed on without a pause goes into it.
  useLayoutEffect(() => {
    const from = document.activeElement as HTMLElement | null;
    box.current?.showModal();
    // It is gone before it is closed, so nobody else puts the focus back; nobody can before that.
    return () => queueMicrotask(() => from?.focus({ preventScroll: true }));
  }, []);
  const entered = (event: SubmitEvent) => {
    event.preventDefault();
    const value = String(new FormData(event.target as HTMLFormElement).get("value") ?? "").trim();
    if (props.what === "number") props.go(Math.min(value ? Number(value) : props.most, props.most));
    else if (value) props.find(value);
    else props.close();
  };
  return (
    <dialog ref={box} onClose={props.close} aria-label={props.what === "help" ? "Keys" : "Go"}>
      {props.what === "help" ? (
        <>
          <dl class="help">
            {HELP.filter(([keys]) => props.served || !ASKS.has(keys)).map(([keys, what]) => (
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
            {...(props.what === "number"
              ? { inputMode: "numeric" as const, pattern: "0*[1-9][0-9]*", title: "A number from 1 on, or nothing for the last" }
              : {})}
          />
          <button class="yes">{props.what === "find" ? "Find" : "Go"}</button>
        </form>
      )}
    </dialog>
  );
}

/** The frame that a fragment names, 0 where it names none. */
function framed(fragment: string): number {
  return Number(/^#run&frame=(\d{1,9})$/.exec(fragment)?.[1] ?? 0);
}

/** What stood there for whoever has no script: printed with the page, and else out of the way. */
function printed(plain: Node[]): void {
  const paper = document.createElement("div");
  paper.className = "paper";
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details")) each.open = true;
    paper.replaceChildren(...plain);
    document.body.append(paper);
  });
  addEventListener("afterprint", () => paper.remove());
}

/** What is pressed while the outline is on its way; what it returns has it heard after all. */
function early(): () => Promise<void> {
  const keys: string[] = [];
  const hear = (event: KeyboardEvent) => {
    if (ours(event) && !event.repeat) keys.push(event.key);
  };
  document.addEventListener("keydown", hear);
  return async () => {
    document.removeEventListener("keydown", hear);
    for (const key of keys) {
      document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
      // The next key is pressed where this one has led to.
      await Promise.resolve();
    }
  };
}

async function begin(root: HTMLElement): Promise<void> {
  const heard = early();
  const brings = "carried" in root.dataset;
  const source = brings ? carried() : served(root.dataset["replay"] ?? "");
  const index = await source.index();
  if (!index.frames) return;
  const wanted = brings ? framed(location.hash) || 1 : Number(root.dataset["at"] ?? 1);
  const at = Math.min(Math.max(wanted, 1), index.frames);
  const first = brings ? [] : [...(root.querySelector(".frame")?.childNodes ?? [])];
  if (brings) printed([...root.childNodes]);
  root.replaceChildren();
  root.classList.add("alive");
  render(<Replay source={source} index={index} at={at} first={first} />, root);
  await heard();
}

const root = document.querySelector<HTMLElement>("[data-replay]");
if (root) void begin(root);
