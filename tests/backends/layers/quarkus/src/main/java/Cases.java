import io.quarkus.websockets.next.CloseReason;
import io.quarkus.websockets.next.HttpUpgradeCheck;
import io.quarkus.websockets.next.OnOpen;
import io.quarkus.websockets.next.OnTextMessage;
import io.quarkus.websockets.next.PathParam;
import io.quarkus.websockets.next.WebSocket;
import io.quarkus.websockets.next.WebSocketConnection;
import io.smallrye.mutiny.Uni;
import io.vertx.ext.web.Router;
import jakarta.enterprise.context.ApplicationScoped;
import jakarta.enterprise.event.Observes;
import java.util.concurrent.CountDownLatch;

/** The cases of asgi_cases.py on Quarkus: https://quarkus.io/guides/websockets-next-reference. */
@WebSocket(path = "/{one}")
public class Cases {
  @OnOpen
  void opened(@PathParam String one, WebSocketConnection connection) {
    if (one.equals("raises-after")) throw new IllegalStateException("broken after it accepted");
    if (one.equals("closes-4401")) connection.closeAndAwait(new CloseReason(4401, "bad token"));
    if (one.equals("closes-1008")) connection.closeAndAwait(new CloseReason(1008, "bad token"));
  }

  @OnTextMessage
  void said(@PathParam String one, WebSocketConnection connection, String text) throws InterruptedException {
    switch (one) {
      case "raises-on-message" -> throw new IllegalStateException("broken by a message");
      case "closes-1011" -> connection.closeAndAwait(new CloseReason(1011, "broken"));
      case "echo" -> connection.sendTextAndAwait(text);
      case "deaf" -> new CountDownLatch(1).await();
      default -> System.out.println("got");
    }
  }

  /** What happens before the accept. */
  @ApplicationScoped
  public static class Before implements HttpUpgradeCheck {
    @Override
    public Uni<CheckResult> perform(HttpUpgradeContext context) {
      return switch (context.httpRequest().path()) {
        case "/raises-before" -> throw new IllegalStateException("broken before it accepted");
        case "/refuses" -> CheckResult.rejectUpgrade(403);
        case "/refuses-401" -> CheckResult.rejectUpgrade(401);
        default -> CheckResult.permitUpgrade();
      };
    }
  }

  /** A page beside the WebSockets, and a path that nothing serves. */
  void routes(@Observes Router router) {
    router.get("/ready").order(-1).handler(context -> context.end("ready"));
    router.get("/nowhere").order(-1).handler(context -> context.fail(404));
  }
}
