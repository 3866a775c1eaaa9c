// How Java reads a path: the JDK's own server, java.net.URI, and the order of servlet containers (parameters off, decoded, then
// normalised). X-Reading says which one is asked.
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

public class Server {
    static String first(String path) {
        return Arrays.stream(path.split("/")).filter(part -> !part.isEmpty()).findFirst().orElse("");
    }

    static String servlet(URI target) {
        String bare = target.getRawPath().replaceAll(";[^/]*", "").replace("+", "%2B");
        String decoded = URLDecoder.decode(bare, StandardCharsets.UTF_8).replace('\\', '/').replaceAll("/+", "/");
        return java.nio.file.Path.of(decoded).normalize().toString();
    }

    static void answer(HttpExchange exchange, String context) throws IOException {
        URI target = exchange.getRequestURI();
        String read;
        try {
            read = switch (exchange.getRequestHeaders().getFirst("X-Reading")) {
                case "uri" -> first(target.normalize().getPath());
                case "servlet" -> first(servlet(target));
                default -> context;
            };
        } catch (RuntimeException refused) {
            read = "nothing";
        }
        byte[] body = ("reads:" + read).getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    public static void main(String[] args) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        for (String context : new String[] {"public", "admin", ""}) {
            server.createContext("/" + context, exchange -> answer(exchange, context));
        }
        server.start();
        System.out.println("PORT " + server.getAddress().getPort());
    }
}
