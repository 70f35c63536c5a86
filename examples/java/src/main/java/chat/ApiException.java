package chat;

/** The server refused with this HTTP status, or did not respond, which counts as 503. */
final class ApiException extends Exception {
    private static final long serialVersionUID = 1L;

    final int status;
    final long retryAfterMs;

    ApiException(String message, int status, long retryAfterMs) {
        super(message);
        this.status = status;
        this.retryAfterMs = retryAfterMs;
    }

    /** Whether a retry may succeed. */
    boolean isRetryable() {
        return status == 429 || status >= 500;
    }
}
