// tRPC on node ws: with ?connectionParams=1 the token is looked at when the context is made. node trpc.mjs PORT
import { createServer } from 'node:http';
import { initTRPC, TRPCError } from '@trpc/server';
import { applyWSSHandler } from '@trpc/server/adapters/ws';
import { WebSocketServer } from 'ws';

const t = initTRPC.context().create();
const router = t.router({ echo: t.procedure.input((value) => value).query(({ input }) => input) });
const createContext = ({ info }) => {
  const params = info.connectionParams;
  if (params && params.token !== 'good') throw new TRPCError({ code: 'UNAUTHORIZED', message: 'bad token' });
  return {};
};
const http = createServer((_, response) => response.end('ready'));
const ws = new WebSocketServer({ server: http });
const handler = applyWSSHandler({ wss: ws, router, createContext });
process.on('SIGTERM', () => {
  handler.broadcastReconnectNotification();
  ws.close();
  http.close();
});
http.listen(Number(process.argv[2]), '127.0.0.1');
