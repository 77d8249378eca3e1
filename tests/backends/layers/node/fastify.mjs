// @fastify/websocket with the cases of asgi_cases.py; SIGTERM is fastify's close(). node fastify.mjs PORT
import fastifyWebsocket from '@fastify/websocket';
import Fastify from 'fastify';

const app = Fastify();
await app.register(fastifyWebsocket, { options: { maxPayload: 1024 } });
const refuses = (status) => (_, reply, done) => reply.code(status).send('no');
const BEFORE = {
  '/raises-before': (_request, _reply, done) => done(new Error('broken')),
  '/refuses': refuses(403),
  '/refuses-401': refuses(401),
};
const CASES = {
  '/raises-after': () => { throw new Error('broken'); },
  '/raises-on-message': (socket) => socket.on('message', () => { throw new Error('broken'); }),
  '/returns-after': () => {},
  '/closes-4401': (socket) => socket.close(4401, 'bad token'),
  '/closes-1011': (socket) => socket.on('message', () => socket.close(1011, 'broken')),
  '/echo': (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })),
  '/silent': (socket) => socket.on('message', () => console.log('got')),
};
app.get('/ready', async () => 'ready');
for (const [path, preValidation] of Object.entries(BEFORE)) app.get(path, { websocket: true, preValidation }, () => {});
for (const [path, handler] of Object.entries(CASES)) app.get(path, { websocket: true }, handler);
process.on('SIGTERM', () => app.close().then(() => process.exit(0)));
await app.listen({ host: '127.0.0.1', port: Number(process.argv[2]) });
