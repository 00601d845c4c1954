// A service worker: stores the page's files on the first visit, and answers from them afterwards.
// The list and its version are written by faceproof export --web.

const { version, files: FILES } = /* files */ { version: "", files: [] };
const OWN = `faceproof ${self.registration.scope} `; // other pages of this address have theirs
const VERSION = OWN + version;

self.addEventListener("install", (event) => {
  const options = { cache: "reload" };
  const store = async () => {
    const cache = await caches.open(VERSION);
    await cache.addAll(FILES.map((name) => new Request(name, options)));
    await self.skipWaiting();
  };
  event.waitUntil(store());
});

self.addEventListener("activate", (event) => {
  const tidy = async () => {
    const old = (await caches.keys()).filter((name) => name !== VERSION && name.startsWith(OWN));
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(tidy());
});

self.addEventListener("fetch", (event) => {
  const find = async () => {
    const cache = await caches.open(VERSION);
    return (await cache.match(event.request, { ignoreSearch: true })) || fetch(event.request);
  };
  event.respondWith(find());
});
