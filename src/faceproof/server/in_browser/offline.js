// A service worker: stores the page's files on the first visit, and answers from them afterwards.
// The list and its version are written by faceproof export --web.

const { version: VERSION, files: FILES } = /* files */ { version: "", files: [] };

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
    const old = (await caches.keys()).filter((name) => name !== VERSION && name.startsWith("faceproof-"));
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(tidy());
});

self.addEventListener("fetch", (event) => {
  const find = async () => (await caches.match(event.request, { ignoreSearch: true })) || fetch(event.request);
  event.respondWith(find());
});
