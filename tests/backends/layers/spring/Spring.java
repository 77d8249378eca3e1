import java.io.IOException;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.boot.reactor.netty.NettyReactiveWebServerFactory;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.http.HttpStatus;
import org.springframework.http.server.ServerHttpRequest;
import org.springframework.http.server.ServerHttpResponse;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.reactive.handler.SimpleUrlHandlerMapping;
import org.springframework.web.reactive.socket.server.support.HandshakeWebSocketService;
import org.springframework.web.reactive.socket.server.support.WebSocketHandlerAdapter;
import org.springframework.web.reactive.socket.server.upgrade.ReactorNettyRequestUpgradeStrategy;
import org.springframework.web.server.WebFilter;
import org.springframework.web.socket.CloseStatus;
import org.springframework.web.socket.TextMessage;
import org.springframework.web.socket.WebSocketHandler;
import org.springframework.web.socket.WebSocketSession;
import org.springframework.web.socket.config.annotation.EnableWebSocket;
import org.springframework.web.socket.config.annotation.WebSocketConfigurer;
import org.springframework.web.socket.handler.TextWebSocketHandler;
import org.springframework.web.socket.server.HandshakeInterceptor;
import org.springframework.web.socket.server.standard.ServletServerContainerFactoryBean;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.netty.http.server.WebsocketServerSpec;

/** The cases of asgi_cases.py on Spring Boot: Spring servlet|reactive PORT, the one on Tomcat, the other on Reactor Netty. */
public final class Spring {
  static final int LIMIT = 1024;
  static final Map<String, Integer> STATUSES = Map.of("/refuses", 403, "/refuses-401", 401);
  static final Set<String> SESSIONS = Set.of(
      "/raises-after", "/raises-on-message", "/returns-after", "/returns-on-message", "/closes-4401", "/closes-1008",
      "/closes-1011", "/echo", "/silent", "/deaf");
  static final Set<String> BEFORE = Set.of("/raises-before", "/returns-before", "/refuses", "/refuses-401");

  static void waitForever() {
    try {
      new CountDownLatch(1).await();
    } catch (InterruptedException stopped) {
      Thread.currentThread().interrupt();
    }
  }

  /** A page beside the WebSockets. */
  @RestController
  static class Ready {
    @GetMapping("/ready")
    String ready() { return "ready"; }
  }

  /** WebSocketConfigurer: https://docs.spring.io/spring-framework/reference/web/websocket/server.html. */
  @Configuration
  @EnableAutoConfiguration
  @EnableWebSocket
  static class OnTomcat implements WebSocketConfigurer {
    @Bean
    Ready ready() { return new Ready(); }

    @Bean
    ServletServerContainerFactoryBean container() {
      var container = new ServletServerContainerFactoryBean();
      container.setMaxTextMessageBufferSize(LIMIT);
      return container;
    }

    @Override
    public void registerWebSocketHandlers(org.springframework.web.socket.config.annotation.WebSocketHandlerRegistry registry) {
      for (var paths : new Set[] {SESSIONS, BEFORE})
        for (var path : paths) registry.addHandler(new Handler((String) path), (String) path).addInterceptors(new Before());
    }
  }

  /** What happens before the accept. */
  static class Before implements HandshakeInterceptor {
    public boolean beforeHandshake(
        ServerHttpRequest request, ServerHttpResponse response, WebSocketHandler handler, Map<String, Object> attributes) {
      String path = request.getURI().getPath();
      if (path.equals("/raises-before")) throw new IllegalStateException("broken before it accepted");
      if (STATUSES.containsKey(path)) response.setStatusCode(HttpStatus.valueOf(STATUSES.get(path)));
      return !BEFORE.contains(path);
    }

    public void afterHandshake(
        ServerHttpRequest request, ServerHttpResponse response, WebSocketHandler handler, Exception broken) {}
  }

  /** One path on Tomcat; a handler there returns from each call, so it cannot return early. */
  static class Handler extends TextWebSocketHandler {
    private final String path;

    Handler(String path) { this.path = path; }

    @Override
    public void afterConnectionEstablished(WebSocketSession session) throws IOException {
      if (path.equals("/raises-after")) throw new IllegalStateException("broken after it accepted");
      if (path.equals("/closes-4401")) session.close(new CloseStatus(4401, "bad token"));
      if (path.equals("/closes-1008")) session.close(CloseStatus.POLICY_VIOLATION);
    }

    @Override
    protected void handleTextMessage(WebSocketSession session, TextMessage message) throws IOException {
      switch (path) {
        case "/raises-on-message" -> throw new IllegalStateException("broken by a message");
        case "/closes-1011" -> session.close(CloseStatus.SERVER_ERROR);
        case "/echo" -> session.sendMessage(message);
        case "/deaf" -> waitForever();
        default -> System.out.println("got");
      }
    }
  }

  /** WebFlux: https://docs.spring.io/spring-framework/reference/web/webflux-websocket.html. */
  @Configuration
  @EnableAutoConfiguration
  static class OnNetty {
    @Bean
    Ready ready() { return new Ready(); }

    @Bean
    NettyReactiveWebServerFactory server() { return new NettyReactiveWebServerFactory(); }

    @Bean
    WebFilter before() {
      return (exchange, chain) -> {
        String path = exchange.getRequest().getPath().value();
        if (path.equals("/raises-before")) throw new IllegalStateException("broken before it accepted");
        if (STATUSES.containsKey(path)) exchange.getResponse().setStatusCode(HttpStatus.valueOf(STATUSES.get(path)));
        return BEFORE.contains(path) ? exchange.getResponse().setComplete() : chain.filter(exchange);
      };
    }

    @Bean
    SimpleUrlHandlerMapping sessions() {
      var handlers = new java.util.HashMap<String, Object>();
      for (var path : SESSIONS)
        handlers.put(path, (org.springframework.web.reactive.socket.WebSocketHandler) session -> handle(path, session));
      return new SimpleUrlHandlerMapping(handlers, 0);
    }

    @Bean
    WebSocketHandlerAdapter adapter() {
      var limits = WebsocketServerSpec.builder().maxFramePayloadLength(LIMIT);
      return new WebSocketHandlerAdapter(
          new HandshakeWebSocketService(new ReactorNettyRequestUpgradeStrategy(() -> limits)));
    }

    static Mono<Void> handle(String path, org.springframework.web.reactive.socket.WebSocketSession session) {
      Flux<String> said = session.receive().map(message -> message.getPayloadAsText());
      return switch (path) {
        case "/raises-after" -> Mono.error(new IllegalStateException("broken after it accepted"));
        case "/returns-after" -> Mono.empty();
        case "/closes-4401" -> close(session, 4401);
        case "/closes-1008" -> close(session, 1008);
        case "/raises-on-message" -> said.map(text -> text.substring(text.length() + 1)).then();
        case "/returns-on-message" -> said.take(1).then();
        case "/closes-1011" -> said.concatMap(text -> close(session, 1011)).then();
        case "/echo" -> session.send(said.map(session::textMessage));
        case "/deaf" -> said.doOnNext(text -> waitForever()).then();
        default -> said.doOnNext(text -> System.out.println("got")).then();
      };
    }

    static Mono<Void> close(org.springframework.web.reactive.socket.WebSocketSession session, int code) {
      return session.close(new org.springframework.web.reactive.socket.CloseStatus(code, "told"));
    }
  }

  public static void main(String[] arguments) {
    var application = new SpringApplication(arguments[0].equals("servlet") ? OnTomcat.class : OnNetty.class);
    application.setDefaultProperties(Map.of(
        "server.address", "127.0.0.1", "server.port", arguments[1], "spring.main.web-application-type", arguments[0],
        "spring.main.banner-mode", "off", "spring.lifecycle.timeout-per-shutdown-phase", "2s"));
    application.run();
  }
}
