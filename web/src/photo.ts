// A photo as it is sent: upright, at most 2,048 pixels long, as JPEG without metadata (where it was taken, by what).
const LONGEST = 2048;
const QUALITY = 0.86;
const MAX_BYTES = 15 * 1024 * 1024;

export class NoPhoto extends Error {}

export async function prepared(file: Blob): Promise<Blob> {
  let drawn: ImageBitmap;
  try {
    drawn = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return unread(file);
  }
  const scale = Math.min(1, LONGEST / Math.max(drawn.width, drawn.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(drawn.width * scale));
  canvas.height = Math.max(1, Math.round(drawn.height * scale));
  const pen = canvas.getContext("2d", { alpha: false });
  if (!pen) return unread(file);
  pen.fillStyle = "#fff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(drawn, 0, 0, canvas.width, canvas.height);
  drawn.close();
  const made = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
  return made ?? unread(file);
}

/** Photos that this browser cannot draw (HEIC outside Safari) go as they are; the server removes their metadata. */
function unread(file: Blob): Blob {
  const name = "name" in file ? String(file.name) : "";
  const photo = /^image\/hei[cf]/.test(file.type) || /\.hei[cf]$/i.test(name);
  if (!photo || file.size > MAX_BYTES) throw new NoPhoto();
  return file;
}
