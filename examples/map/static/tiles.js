/** The tiles of the usual web map at zoom 6, as the server has them: `17/24`. */

const ACROSS = 64;

/** Where a place is, in tiles from the map's north-west corner. */
function place(lat, lon) {
  const north = (lat * Math.PI) / 180;
  const y = (1 - Math.asinh(Math.tan(north)) / Math.PI) / 2;
  return { x: ((lon + 180) / 360) * ACROSS, y: y * ACROSS };
}

/** The corners of a tile. */
export function corners(tile) {
  const [x, y] = tile.split("/").map(Number);
  const lat = (row) => (Math.atan(Math.sinh(Math.PI * (1 - (2 * row) / ACROSS))) * 180) / Math.PI;
  const lon = (column) => (column / ACROSS) * 360 - 180;
  return { north: lat(y), south: lat(y + 1), west: lon(x), east: lon(x + 1) };
}

/** Those of `all` that are at least partly within bounds. */
export function tilesWithin(bounds, all) {
  const first = place(bounds.getNorth(), bounds.getWest());
  const last = place(bounds.getSouth(), bounds.getEast());
  const found = new Set();
  for (let x = Math.floor(first.x); x <= last.x; x += 1) {
    for (let y = Math.floor(first.y); y <= last.y; y += 1) if (all.has(`${x}/${y}`)) found.add(`${x}/${y}`);
  }
  return found;
}
