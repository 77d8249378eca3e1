// socket.io 4: `/` lets in all but those with a wrong token, `/admin` only those with the right one. node socketio.mjs PORT
import { createServer } from 'node:http';
import { Server } from 'socket.io';

const http = createServer((request, response) => {
  if (request.url === '/ready') response.end('ready');
});
const io = new Server(http, { transports: ['websocket'] });
const echo = (socket) => socket.on('echo', (value, answer) => (answer ? answer(value) : socket.emit('echo', value)));
const admits = (...tokens) => (socket, next) => {
  const refusal = Object.assign(new Error('not authorized'), { data: { code: 'E401' } });
  next(tokens.includes(socket.handshake.auth.token) ? undefined : refusal);
};
io.use(admits('good', undefined)).on('connection', echo);
io.of('/admin').use(admits('good')).on('connection', echo);
process.on('SIGTERM', () => io.close());
http.listen(Number(process.argv[2]), '127.0.0.1');
