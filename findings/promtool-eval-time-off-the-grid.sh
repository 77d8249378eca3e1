#!/usr/bin/env bash
# Memory says: promtool judges an alert at its `eval_time`, so 10m7s shows the rules seven seconds after the samples of 10m.
# Seen: promtool 2.42.0: alerts are those of the last multiple of evaluation_interval (10m0s); expressions are asked at 10m7s.
# Why it matters: a near miss "just after the reconnect" tests the moment before it; and off the grid no edge is avoided.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -o APT::Sandbox::User=root download -qq prometheus=2.42.0+ds-5+deb12u1
dpkg-deb -x prometheus_*.deb root
cat > rules.yml <<'RULES'
groups:
  - name: g
    rules:
      - alert: Moment
        expr: vector(time()) >= 600
        annotations: {at: '{{ $value }}'}
RULES
cat > test.yml <<'TEST'
rule_files: [rules.yml]
evaluation_interval: 15s
tests:
  - interval: 15s
    alert_rule_test:
      - eval_time: 10m7s
        alertname: Moment
        exp_alerts: [{exp_annotations: {at: '600'}}]
      - eval_time: 10m15s
        alertname: Moment
        exp_alerts: [{exp_annotations: {at: '615'}}]
    promql_expr_test:
      - expr: vector(time())
        eval_time: 10m7s
        exp_samples: [{value: 607}]
TEST
./root/usr/bin/promtool --version 2>&1 | head -1
./root/usr/bin/promtool test rules test.yml
echo "eval_time 10m7s: the alert is that of 10m0s, the expression that of 10m7s"
