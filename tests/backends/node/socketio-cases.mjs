// socket.io with a case in the query: what its middleware or its listener then does. node socketio-cases.mjs PORT
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer((request, response) => {
  if (request.url === '/ready') response.end('ready');
});
const io = new Server(http, { transports: ['websocket'] });
const MIDDLEWARE = {
  refuses: (next) => next(new Error('bad token')),
  silent: () => console.log('got'),
};
const of = (socket) => socket.handshake.query.case;
io.use((socket, next) => (MIDDLEWARE[of(socket)] ?? ((goOn) => goOn()))(next));
io.on('connection', (socket) => {
  if (of(socket) === 'raises-after') throw new Error('broken');
});
process.on('SIGTERM', () => io.close());
http.listen(Number(process.argv[2]), '127.0.0.1');
