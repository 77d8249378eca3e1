import io.undertow.Handlers;
import io.undertow.Undertow;
import io.undertow.websockets.core.AbstractReceiveListener;
import io.undertow.websockets.core.BufferedTextMessage;
import io.undertow.websockets.core.WebSocketChannel;
import io.undertow.websockets.core.WebSockets;
import io.vertx.core.Vertx;
import io.vertx.core.http.HttpServerOptions;
import jakarta.websocket.CloseReason;
import jakarta.websocket.OnError;
import jakarta.websocket.OnMessage;
import jakarta.websocket.OnOpen;
import jakarta.websocket.server.PathParam;
import jakarta.websocket.server.ServerEndpoint;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.websocket.server.WsSci;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.handler.ContextHandler;
import org.eclipse.jetty.server.handler.GracefulHandler;
import org.eclipse.jetty.websocket.api.Callback;
import org.eclipse.jetty.websocket.api.Session;
import org.eclipse.jetty.websocket.server.WebSocketUpgradeHandler;
import org.java_websocket.WebSocket;
import org.java_websocket.handshake.ClientHandshake;
import org.java_websocket.server.WebSocketServer;

/**
 * The cases of asgi_cases.py on five Java servers: Layers LIBRARY PORT [IDLE]. SIGTERM stops each as its documentation
 * shows. IDLE sets after how many milliseconds of a quiet client Jetty closes.
 */
public final class Layers {
  static final int LIMIT = 1024;
  static Duration idle;

  interface Connection {
    void send(String text) throws IOException;

    void close(int code, String reason) throws IOException;
  }

  interface Program {
    void run(int port) throws Exception;
  }

  static final Map<String, Integer> STATUSES = Map.of("/ready", 200, "/refuses", 403, "/refuses-401", 401);
  static final Set<String> CASES =
      Set.of("/raises-after", "/raises-on-message", "/closes-4401", "/closes-1011", "/echo", "/silent", "/deaf");

  static void opened(String path, Connection connection) throws IOException {
    if (path.equals("/raises-after")) throw new IllegalStateException("broken after it accepted");
    if (path.equals("/closes-4401")) connection.close(4401, "bad token");
  }

  static void said(String path, Connection connection, String text) throws IOException {
    switch (path) {
      case "/raises-on-message" -> throw new IllegalStateException("broken by a message");
      case "/raises-an-error" -> throw new AssertionError("broken by a message");
      case "/lacks-a-class" -> throw new NoClassDefFoundError("broken by a message");
      case "/closes-1011" -> connection.close(1011, "broken");
      case "/echo" -> connection.send(text);
      case "/deaf" -> waitForever();
      default -> System.out.println("got");
    }
  }

  static void waitForever() {
    try {
      new CountDownLatch(1).await();
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
    }
  }

  static void atStop(AutoCloseable end) {
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try {
        end.close();
      } catch (Exception broken) {
        broken.printStackTrace();
      }
    }));
  }

  static void javaWebSocket(int port) {
    var server = new WebSocketServer(new InetSocketAddress("127.0.0.1", port)) {
      private Connection of(WebSocket ws) {
        return new Connection() {
          public void send(String text) { ws.send(text); }

          public void close(int code, String reason) { ws.close(code, reason); }
        };
      }

      public void onOpen(WebSocket ws, ClientHandshake handshake) { wrapped(() -> opened(ws.getResourceDescriptor(), of(ws))); }

      public void onMessage(WebSocket ws, String text) { wrapped(() -> said(ws.getResourceDescriptor(), of(ws), text)); }

      public void onClose(WebSocket ws, int code, String reason, boolean remote) {}

      public void onError(WebSocket ws, Exception broken) {}

      public void onStart() {}
    };
    server.setReuseAddr(true);
    atStop(() -> server.stop(1000));
    server.run();
  }

  interface Step {
    void run() throws IOException;
  }

  static void wrapped(Step step) {
    try {
      step.run();
    } catch (IOException broken) {
      throw new IllegalStateException(broken);
    }
  }

  static void vertx(int port) {
    var vertx = Vertx.vertx();
    var options = new HttpServerOptions().setHost("127.0.0.1").setPort(port).setMaxWebSocketMessageSize(LIMIT).setMaxWebSocketFrameSize(LIMIT);
    vertx.createHttpServer(options)
        .webSocketHandshakeHandler(handshake -> {
          switch (handshake.path()) {
            case "/refuses" -> handshake.reject();
            case "/refuses-401" -> handshake.reject(401);
            case "/raises-before" -> throw new IllegalStateException("broken before it accepted");
            default -> handshake.accept();
          }
        })
        .webSocketHandler(ws -> {
          var connection = new Connection() {
            public void send(String text) { ws.writeTextMessage(text); }

            public void close(int code, String reason) { ws.close((short) code, reason); }
          };
          ws.textMessageHandler(text -> wrapped(() -> said(ws.path(), connection, text)));
          wrapped(() -> opened(ws.path(), connection));
        })
        .listen();
    atStop(() -> vertx.close().toCompletionStage().toCompletableFuture().join());
  }

  static void undertow(int port) {
    var websocket = Handlers.websocket((exchange, channel) -> {
      String path = exchange.getRequestURI();
      var connection = new Connection() {
        public void send(String text) { WebSockets.sendText(text, channel, null); }

        public void close(int code, String reason) { WebSockets.sendClose(code, reason, channel, null); }
      };
      channel.getReceiveSetter().set(new AbstractReceiveListener() {
        protected void onFullTextMessage(WebSocketChannel from, BufferedTextMessage message) throws IOException {
          said(path, connection, message.getData());
        }

        protected long getMaxTextBufferSize() { return LIMIT; }
      });
      channel.resumeReceives();
      wrapped(() -> opened(path, connection));
    });
    var graceful = Handlers.gracefulShutdown(exchange -> {
      String path = exchange.getRequestPath();
      if (path.equals("/raises-before")) throw new IllegalStateException("broken before it accepted");
      if (CASES.contains(path)) websocket.handleRequest(exchange);
      else exchange.setStatusCode(STATUSES.getOrDefault(path, 404)).endExchange();
    });
    var server = Undertow.builder().addHttpListener(port, "127.0.0.1").setHandler(graceful).build();
    server.start();
    atStop(() -> {
      graceful.shutdown();
      graceful.awaitShutdown();
      server.stop();
    });
  }

  /** An endpoint of Jetty, one for each connection. */
  public static final class JettyEndpoint extends Session.Listener.AbstractAutoDemanding {
    private final String path;

    JettyEndpoint(String path) { this.path = path; }

    private Connection connection() {
      return new Connection() {
        public void send(String text) { getSession().sendText(text, Callback.NOOP); }

        public void close(int code, String reason) { getSession().close(code, reason, Callback.NOOP); }
      };
    }

    @Override
    public void onWebSocketOpen(Session session) {
      super.onWebSocketOpen(session);
      wrapped(() -> opened(path, connection()));
    }

    @Override
    public void onWebSocketText(String text) { wrapped(() -> said(path, connection(), text)); }
  }

  static void jetty(int port, boolean isGraceful) throws Exception {
    var server = new Server(new InetSocketAddress("127.0.0.1", port));
    var context = new ContextHandler("/");
    context.setHandler(WebSocketUpgradeHandler.from(server, context, container -> {
      container.setMaxTextMessageSize(LIMIT);
      if (idle != null) container.setIdleTimeout(idle);
      container.addMapping("/*", (request, response, callback) -> {
        String path = Request.getPathInContext(request);
        if (path.equals("/raises-before")) throw new IllegalStateException("broken before it accepted");
        if (CASES.contains(path)) return new JettyEndpoint(path);
        Response.writeError(request, response, callback, STATUSES.getOrDefault(path, 404));
        return null;
      });
    }));
    server.setHandler(isGraceful ? new GracefulHandler(context) : context);
    if (isGraceful) server.setStopTimeout(2000);
    server.setStopAtShutdown(true);
    server.start();
  }

  /** An endpoint of Tomcat, one for each connection. */
  @ServerEndpoint("/{case}")
  public static final class TomcatEndpoint {
    private static Connection of(jakarta.websocket.Session session) {
      return new Connection() {
        public void send(String text) throws IOException { session.getBasicRemote().sendText(text); }

        public void close(int code, String reason) throws IOException {
          session.close(new CloseReason(CloseReason.CloseCodes.getCloseCode(code), reason));
        }
      };
    }

    @OnOpen
    public void open(jakarta.websocket.Session session, @PathParam("case") String one) throws IOException {
      opened("/" + one, of(session));
    }

    @OnMessage(maxMessageSize = LIMIT)
    public void message(jakarta.websocket.Session session, String text, @PathParam("case") String one) throws IOException {
      said("/" + one, of(session), text);
    }

    @OnError
    public void error(Throwable broken) {}
  }

  static void tomcat(int port) throws Exception {
    var folder = Files.createTempDirectory("tomcat").toString();
    var tomcat = new Tomcat();
    tomcat.setBaseDir(folder);
    var connector = new Connector();
    connector.setPort(port);
    connector.setProperty("address", "127.0.0.1");
    tomcat.setConnector(connector);
    var context = tomcat.addContext("", folder);
    context.addServletContainerInitializer(new WsSci(), Set.of(TomcatEndpoint.class));
    Tomcat.addServlet(context, "default", "org.apache.catalina.servlets.DefaultServlet");
    context.addServletMappingDecoded("/", "default");
    tomcat.start();
    atStop(tomcat::stop);
    tomcat.getServer().await();
  }

  public static void main(String[] arguments) throws Exception {
    Map<String, Program> programs = Map.of(
        "java-websocket", Layers::javaWebSocket, "vertx", Layers::vertx, "undertow", Layers::undertow,
        "jetty", port -> jetty(port, false), "jetty-graceful", port -> jetty(port, true), "tomcat", Layers::tomcat);
    if (arguments.length > 2) idle = Duration.ofMillis(Long.parseLong(arguments[2]));
    programs.get(arguments[0]).run(Integer.parseInt(arguments[1]));
  }
}
