#!/usr/bin/env bash
# The two hooks of an Auto Scaling group, with the AWS CLI: hooks.sh GROUP
set -euo pipefail

aws autoscaling put-lifecycle-hook --auto-scaling-group-name "$1" --lifecycle-hook-name elb-registrar-launch \
    --lifecycle-transition autoscaling:EC2_INSTANCE_LAUNCHING --heartbeat-timeout 900 --default-result ABANDON \
    --notification-metadata '{"register": ["tg:edge:443=eth0"]}'

aws autoscaling put-lifecycle-hook --auto-scaling-group-name "$1" --lifecycle-hook-name elb-registrar-terminate \
    --lifecycle-transition autoscaling:EC2_INSTANCE_TERMINATING --heartbeat-timeout 900 --default-result CONTINUE
