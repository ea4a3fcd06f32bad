// The page's colours for what is drawn on a canvas: as they are now, in the light or the dark.

const probe = document.createElement("i");
probe.hidden = true;

export function color(name) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}
