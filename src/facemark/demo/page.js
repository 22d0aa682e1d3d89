// Names what the pointer is over; `element` is the HTML that Gradio runs this for.
const say = target => {
  const caption = element.querySelector(".caption");
  const title = target?.querySelector?.(":scope > title");
  if (caption) caption.textContent = title ? title.textContent : caption.dataset.hint;
};
element.addEventListener("pointerover", event => say(event.target));
element.addEventListener("click", event => say(event.target));
element.addEventListener("keydown", event => {
  const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
  const points = [...element.querySelectorAll(".landmarks circle")];
  if (!step || !points.length || !event.target.matches(".picture")) return;
  event.preventDefault();
  const before = points.findIndex(point => point.matches(".current"));
  const now = points[before < 0 && step < 0 ? points.length - 1 : (before + step + points.length) % points.length];
  points[before]?.classList.remove("current");
  now.classList.add("current");
  say(now);
});
