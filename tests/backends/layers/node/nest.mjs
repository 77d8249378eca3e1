// NestJS on ws: one gateway for each case, with its decorators called as TypeScript would. node nest.mjs PORT
import 'reflect-metadata';
import { Controller, Get, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { WsAdapter } from '@nestjs/platform-ws';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';

const CASES = {
  '/raises-after': { connected() { throw new Error('broken'); } },
  '/raises-on-message': { said() { throw new Error('broken'); } },
  '/closes-4401': { connected(socket) { socket.close(4401, 'bad token'); } },
  '/silent': { said() { console.log('got'); } },
};

function gateway(path, { connected = () => {}, said = () => {} }) {
  class Gateway {
    handleConnection(socket) { connected(socket); }

    said() { said(); }
  }
  SubscribeMessage('say')(Gateway.prototype, 'said', Object.getOwnPropertyDescriptor(Gateway.prototype, 'said'));
  WebSocketGateway({ path })(Gateway);
  return Gateway;
}

class Ready {
  ready() { return 'ready'; }
}
Get('/ready')(Ready.prototype, 'ready', Object.getOwnPropertyDescriptor(Ready.prototype, 'ready'));
Controller()(Ready);

class Root {}
Module({
  controllers: [Ready],
  providers: Object.entries(CASES).map(([path, one]) => gateway(path, one)),
})(Root);

const app = await NestFactory.create(Root, { logger: ['error'] });
app.useWebSocketAdapter(new WsAdapter(app));
app.enableShutdownHooks();
await app.listen(Number(process.argv[2]), '127.0.0.1');
