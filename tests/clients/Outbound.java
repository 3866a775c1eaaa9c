import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;

/**
 * Asks for URLs as Java programs do: with the JDK's own client, through the proxy of the system properties http.proxyHost and
 * https.proxyHost (it does not read HTTP_PROXY). Prints a line for each answer: the status and the body, or the error. The token is in TOKEN.
 */
class Outbound {
    public static void main(String[] urls) throws InterruptedException {
        HttpClient client = HttpClient.newHttpClient();
        for (String url : urls) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(20))
                    .header("Authorization", "Bearer " + System.getenv("TOKEN")).build();
            try {
                var answer = client.send(request, BodyHandlers.ofString());
                System.out.println(answer.statusCode() + " " + answer.body().replace('\n', ' '));
            } catch (java.io.IOException error) {
                System.out.println("error " + error);
            }
        }
    }
}
