import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { failed, halted, mark, type Index } from "./wire";

const LANES = ["model", "tools", "decisions"];
const LANE = 18;
const GAP = 4;

/** The whole run at a glance: three lanes, a column a frame, and a slider over all of it. */
export function Lanes(props: { index: Index; at: number; go: (frame: number) => void }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { index, at } = props;
  const whole = useRef<HTMLCanvasElement | undefined>(undefined);
  const latest = useRef(at);
  latest.current = at;
  useEffect(() => {
    const drawn = () => {
      if (!canvas.current) return;
      whole.current = draw(canvas.current, index);
      point(canvas.current, whole.current, index, latest.current);
    };
    drawn();
    const sizes = new ResizeObserver(drawn);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    if (canvas.current) sizes.observe(canvas.current);
    dark.addEventListener("change", drawn);
    return () => {
      sizes.disconnect();
      dark.removeEventListener("change", drawn);
    };
  }, [index]);
  useLayoutEffect(() => {
    // The rest is as it was: ten thousand columns are not drawn for each step.
    if (canvas.current && whole.current) point(canvas.current, whole.current, index, at);
  }, [at]);
  return (
    <div class="lanes">
      <ul aria-hidden="true">{LANES.map((lane) => <li key={lane}>{lane}</li>)}</ul>
      <div>
        <canvas ref={canvas} aria-hidden="true" />
        <input
          type="range"
          aria-label="Frame"
          aria-valuetext={`Frame ${at} of ${index.frames}, ${mark(index, at)[2]}`}
          min={1}
          max={index.frames}
          value={at}
          onInput={(event) => props.go(Number(event.currentTarget.value))}
        />
      </div>
    </div>
  );
}

/** All but where one is, to be kept. */
function draw(canvas: HTMLCanvasElement, index: Index): HTMLCanvasElement | undefined {
  const box = canvas.getBoundingClientRect();
  const whole = document.createElement("canvas");
  const paint = whole.getContext("2d");
  if (!paint || !box.width) return undefined;
  const scale = devicePixelRatio || 1;
  whole.width = canvas.width = Math.round(box.width * scale);
  whole.height = canvas.height = Math.round(box.height * scale);
  paint.scale(scale, scale);
  const style = getComputedStyle(canvas);
  const colours = new Map<string, string>();
  const colour = (name: string) => {
    if (!colours.has(name)) colours.set(name, style.getPropertyValue(`--${name}`));
    return colours.get(name) as string;
  };
  const column = box.width / index.frames;
  paint.fillStyle = colour("paper");
  for (const lane of LANES.keys()) paint.fillRect(0, lane * (LANE + GAP), box.width, LANE);
  // Of the frames that share a pixel, the ones that say most are drawn last.
  for (const loud of [false, true]) {
    for (let frame = 1; frame <= index.frames; frame++) {
      if (halted(index, frame) !== loud) continue;
      const [tone] = mark(index, frame);
      const width = Math.max(column > 3 ? column - 1 : column, 1);
      const lane = "mu".includes(index.kind[frame - 1] ?? " ") ? 0 : 1;
      const left = (frame - 1) * column;
      const ran = index.verdict[frame - 1] !== "d";
      if (lane === 0 || ran) {
        paint.fillStyle = colour(failed(index, frame) ? "deny" : tone);
        paint.fillRect(left, lane * (LANE + GAP) + 4, width, LANE - 8);
      }
      if (loud) {
        paint.fillStyle = colour(tone === "allow" ? "ask" : tone);
        paint.fillRect(left, 2 * (LANE + GAP) + 2, Math.max(width, 2), LANE - 4);
      }
    }
  }
  // What was denied or asked about in runs that began at a frame, low in the lane of decisions.
  for (const [frame, , denied, asked] of index.forks) {
    if (!denied && !asked) continue;
    paint.fillStyle = colour(denied ? "deny" : "ask");
    paint.fillRect((frame - 1) * column, 2 * (LANE + GAP) + LANE - 6, Math.max(column - 1, 2), 4);
  }
  return whole;
}

/** Where one is, over the whole. */
function point(
  canvas: HTMLCanvasElement,
  whole: HTMLCanvasElement | undefined,
  index: Index,
  at: number,
): void {
  const paint = canvas.getContext("2d");
  if (!paint || !whole) return;
  paint.clearRect(0, 0, canvas.width, canvas.height);
  paint.drawImage(whole, 0, 0);
  const scale = devicePixelRatio || 1;
  paint.fillStyle = getComputedStyle(canvas).getPropertyValue("--cursor");
  paint.fillRect((at - 0.5) * (canvas.width / index.frames) - scale, 0, 2 * scale, canvas.height);
}
