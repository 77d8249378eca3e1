#!/usr/bin/env bash
# Memory says: a YAML tool may rewrite the files of `promtool test rules`; what it cannot keep, promtool refuses.
# Seen: `values: 0x20` (21 samples of 0) is the number 32 to PyYAML 6.0.3, and promtool 2.42.0 plays one sample of 32.
# Why it matters: "no reconnect for five minutes" becomes 32 reconnects at once, and most cases of silence stay green.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -o APT::Sandbox::User=root download -qq prometheus=2.42.0+ds-5+deb12u1
dpkg-deb -x prometheus_*.deb root
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check PyYAML==6.0.3
cat > test.yml <<'TEST'
tests:
  - interval: 15s
    input_series:
      - series: websocket_reconnects_total
        values: 0x20
    promql_expr_test:
      - expr: count_over_time(websocket_reconnects_total[10m])
        eval_time: 5m
        exp_samples: [{labels: '{}', value: 21}]
TEST
venv/bin/python - <<'PYTHON'
import yaml

with open("test.yml") as file:
    case = yaml.safe_load(file)
assert case["tests"][0]["input_series"][0]["values"] == 32, case
case["tests"][0]["promql_expr_test"] = [
    {"expr": "websocket_reconnects_total", "eval_time": "0s", "exp_samples": [{"labels": "websocket_reconnects_total", "value": 32}]},
    {"expr": "count_over_time(websocket_reconnects_total[10m])", "eval_time": "5m", "exp_samples": [{"labels": "{}", "value": 1}]},
]
with open("rewritten.yml", "w") as file:
    yaml.safe_dump(case, file)
PYTHON
./root/usr/bin/promtool --version 2>&1 | head -1
./root/usr/bin/promtool test rules test.yml
./root/usr/bin/promtool test rules rewritten.yml
echo "0x20 is 21 samples of 0; loaded and dumped it is one sample of 32, and promtool says SUCCESS"
