// faye-websocket with the cases of asgi_cases.py; an exception ends the process. node faye.mjs PORT
import WebSocket from 'faye-websocket';
import { createServer } from 'node:http';

const fails = () => { throw new Error('broken'); };
const CASES = {
  '/raises-after': fails,
  '/raises-on-message': (ws) => ws.on('message', fails),
  '/returns-after': () => {},
  '/closes-4401': (ws) => ws.on('open', () => ws.close(4401, 'bad token')),
  '/closes-1011': (ws) => ws.on('message', () => ws.close(1011, 'broken')),
  '/echo': (ws) => ws.on('message', (event) => ws.send(event.data)),
  '/silent': (ws) => ws.on('message', () => console.log('got')),
};
const http = createServer((_, response) => response.end('ready'));
http.on('upgrade', (request, socket, head) => {
  if (request.url in CASES) CASES[request.url](new WebSocket(request, socket, head, [], { maxLength: 1024 }));
  else socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
});
http.listen(Number(process.argv[2]), '127.0.0.1');
