package chat;

/** The server refused with this HTTP status and code, or did not respond, which counts as 503. */
final class ApiException extends Exception {
    private static final long serialVersionUID = 1L;

    final int status;
    final String code;
    final long retryAfterMs;

    ApiException(String message, int status) {
        this(message, status, "", 0);
    }

    ApiException(String message, int status, String code, long retryAfterMs) {
        super(message);
        this.status = status;
        this.code = code;
        this.retryAfterMs = retryAfterMs;
    }

    /** Whether a retry may succeed. */
    boolean isRetryable() {
        return status == 408 || status == 429 || (status >= 500 && !code.equals("internal"));
    }
}
