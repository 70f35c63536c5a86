import com.google.gson.Gson;
import io.grpc.testing.integration.TestServiceClient;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Runs grpc-java's own interop client for one case of --test_case (separated by commas) after the other, since a JVM for
 * each takes longer than the cases. For each case it prints its name, and how it failed if it did.
 */
class Cases {
  private static final String TEST_CASE = "--test_case=";

  public static void main(String[] arguments) {
    List<String> options = new ArrayList<>(Arrays.asList(arguments));
    String cases = options.stream().filter(option -> option.startsWith(TEST_CASE)).findFirst().orElseThrow();
    options.remove(cases);
    for (String name : cases.substring(TEST_CASE.length()).split(",")) {
      System.out.println(new Gson().toJson(List.of(name, failureOf(name, options))));
    }
    System.exit(0); // grpc-java may leave threads behind
  }

  private static String failureOf(String name, List<String> options) {
    List<String> arguments = new ArrayList<>(options);
    arguments.add(TEST_CASE + name);
    try {
      TestServiceClient.main(arguments.toArray(String[]::new));
      return "";
    } catch (Throwable failure) {
      StringWriter trace = new StringWriter();
      failure.printStackTrace(new PrintWriter(trace));
      return trace.toString();
    }
  }
}
