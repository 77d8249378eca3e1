// graphql-ws on node ws: closes with 4406 without its subprotocol. node graphql.mjs PORT
import { createServer } from 'node:http';
import { GraphQLObjectType, GraphQLSchema, GraphQLString } from 'graphql';
import { useServer } from 'graphql-ws/use/ws';
import { WebSocketServer } from 'ws';

const query = new GraphQLObjectType({ name: 'Query', fields: { hello: { type: GraphQLString, resolve: () => 'hi' } } });
const http = createServer((_, response) => response.end('ready'));
const ws = new WebSocketServer({ server: http, path: '/graphql' });
const onConnect = (context) => !context.connectionParams?.wanted || context.connectionParams.token === 'good-token';
useServer({ schema: new GraphQLSchema({ query }), onConnect }, ws);
http.listen(Number(process.argv[2]), '127.0.0.1');
