// /BUCKET/KEY becomes /KEY, the key in the bucket of photos.
function handler(event) {
  var request = event.request;
  var found = request.uri.match(/^\/[a-z0-9.-]+\/(.+)$/);
  if (!found) {
    return { statusCode: 404, statusDescription: "Not Found" };
  }
  request.uri = "/" + found[1];
  return request;
}
