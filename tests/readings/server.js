// How Node reads a path: the URL class, the legacy parser, what static file servers do, and Express's routing. X-Reading says which.
const http = require('http');
const path = require('path');
const legacy = require('url');

const first = (p) => p.split('/').find((part) => part) ?? '';
const readings = {
  url: (target) => new URL(target, 'http://api.example.com').pathname,
  legacy: (target) => legacy.parse(target).pathname ?? '',
  files: (target) => path.posix.normalize('/' + decodeURIComponent(target.split('?')[0])),
  'files-on-windows': (target) => path.win32.normalize('/' + decodeURIComponent(target.split('?')[0])).replaceAll('\\', '/').toLowerCase(),
  express: (target) => target.split('?')[0].toLowerCase(),
};

const server = http.createServer((request, response) => {
  let read;
  try {
    read = first(readings[request.headers['x-reading']](request.url));
  } catch (error) {
    response.statusCode = 400;
    read = 'nothing';
  }
  response.end('reads:' + read);
});
server.listen(0, '127.0.0.1', () => console.log('PORT', server.address().port));
