"""What all tests share: how Hypothesis runs."""

from hypothesis import HealthCheck, settings

# No deadline: the machines that run these are shared and noisy, and a time limit there is a flaky test.
# autojump_clock and tmp_path are safe to share between the examples of one test where each example uses fresh names.
settings.register_profile("rookery", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("rookery")
