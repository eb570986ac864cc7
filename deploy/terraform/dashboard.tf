# Made from template.yaml by deploy/terraform_module.py: change the template, whose comments explain it, and run .ci/terraform --write.

resource "aws_cloudwatch_dashboard" "dashboard" {
  dashboard_name = "${var.name}-Dashboard-${data.aws_region.current.region}"
  dashboard_body = <<-EOT
  {
    "widgets": [
      {"type": "alarm", "x": 0, "y": 0, "width": 24, "height": 3, "properties": {
        "title": "Alarms",
        "alarms": [
          "${aws_cloudwatch_metric_alarm.instance_state_dead_letters_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.instance_state_rule_dead_letters_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.reconcile_dead_letters_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.order_dead_letters_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.instance_state_queue_unread_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.order_queue_unread_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.instance_state_errors_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.instance_state_throttles_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.lifecycle_dead_letters_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.lifecycle_rule_dead_letters_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.lifecycle_queue_unread_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.lifecycle_queue_old_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.lifecycle_errors_alarm.arn}",
          "${aws_cloudwatch_metric_alarm.lifecycle_throttles_alarm.arn}"${local.has_metrics ? chomp(<<-EOT
    ,
      "${aws_cloudwatch_metric_alarm.instance_state_denied_alarm[0].arn}",
      "${aws_cloudwatch_metric_alarm.reconcile_denied_alarm[0].arn}",
      "${aws_cloudwatch_metric_alarm.instance_state_failed_alarm[0].arn}",
      "${aws_cloudwatch_metric_alarm.reconcile_failed_alarm[0].arn}",
      "${aws_cloudwatch_metric_alarm.instance_state_needs_a_person_alarm[0].arn}",
      "${aws_cloudwatch_metric_alarm.reconcile_needs_a_person_alarm[0].arn}",
      "${aws_cloudwatch_metric_alarm.reconcile_orphans_alarm[0].arn}",
      "${aws_cloudwatch_metric_alarm.lifecycle_denied_alarm[0].arn}",
      "${aws_cloudwatch_metric_alarm.lifecycle_failed_alarm[0].arn}",
      "${aws_cloudwatch_metric_alarm.lifecycle_needs_a_person_alarm[0].arn}",
      "${aws_cloudwatch_metric_alarm.lifecycle_given_up_alarm[0].arn}",
      "${aws_cloudwatch_metric_alarm.reconcile_held_while_running_alarm[0].arn}",
      "${aws_cloudwatch_metric_alarm.reconcile_missing_alarm[0].arn}"
  EOT
) : ""}
        ]
      }},
      {"type": "custom", "x": 0, "y": 3, "width": 24, "height": 10, "properties": {
        "title": "At present",
        "endpoint": "${aws_lambda_function.reconcile_function.arn}",
        "params": {},
        "updateOn": {"refresh": false, "resize": false, "timeRange": false}
      }},
      {"type": "metric", "x": 0, "y": 13, "width": 12, "height": 6, "properties": {
        "title": "instance-state: what it did",
        "region": "${data.aws_region.current.region}",
        "stat": "Sum",
        "period": 300,
        "view": "timeSeries",
        "metrics": [
          ["elb-registrar", "TakenOut", "Stack", "${var.name}", "Function", "instance-state"],
          ["elb-registrar", "GivenBack", "Stack", "${var.name}", "Function", "instance-state"],
          ["elb-registrar", "WouldTakeOut", "Stack", "${var.name}", "Function", "instance-state", {"label": "would be taken out (observe)"}],
          ["elb-registrar", "WouldGiveBack", "Stack", "${var.name}", "Function", "instance-state", {"label": "would be given back (observe)"}],
          ["elb-registrar", "Unhealthy", "Stack", "${var.name}", "Function", "instance-state"],
          ["elb-registrar", "Waiting", "Stack", "${var.name}", "Function", "instance-state"],
          ["elb-registrar", "LetGo", "Stack", "${var.name}", "Function", "instance-state"],
          ["elb-registrar", "NeedsAPerson", "Stack", "${var.name}", "Function", "instance-state"],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "instance-state"],
          ["elb-registrar", "NotUnderstood", "Stack", "${var.name}", "Function", "instance-state"]
        ]
      }},
      {"type": "metric", "x": 12, "y": 13, "width": 12, "height": 6, "properties": {
        "title": "reconcile: what it did",
        "region": "${data.aws_region.current.region}",
        "stat": "Sum",
        "period": 300,
        "view": "timeSeries",
        "metrics": [
          ["elb-registrar", "TakenOut", "Stack", "${var.name}", "Function", "reconcile"],
          ["elb-registrar", "GivenBack", "Stack", "${var.name}", "Function", "reconcile"],
          ["elb-registrar", "WouldTakeOut", "Stack", "${var.name}", "Function", "reconcile", {"label": "would be taken out (observe)"}],
          ["elb-registrar", "WouldGiveBack", "Stack", "${var.name}", "Function", "reconcile", {"label": "would be given back (observe)"}],
          ["elb-registrar", "Unhealthy", "Stack", "${var.name}", "Function", "reconcile"],
          ["elb-registrar", "Waiting", "Stack", "${var.name}", "Function", "reconcile"],
          ["elb-registrar", "LetGo", "Stack", "${var.name}", "Function", "reconcile"],
          ["elb-registrar", "NeedsAPerson", "Stack", "${var.name}", "Function", "reconcile"],
          ["elb-registrar", "Orphans", "Stack", "${var.name}", "Function", "reconcile"],
          ["elb-registrar", "Pruned", "Stack", "${var.name}", "Function", "reconcile"],
          ["elb-registrar", "WouldPrune", "Stack", "${var.name}", "Function", "reconcile", {"label": "would be pruned (observe)"}],
          ["elb-registrar", "HeldWhileRunning", "Stack", "${var.name}", "Function", "reconcile", {"label": "held while running"}],
          ["elb-registrar", "Sweeps", "Stack", "${var.name}", "Function", "reconcile"],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "reconcile"]
        ]
      }},
      {"type": "metric", "x": 0, "y": 19, "width": 12, "height": 6, "properties": {
        "title": "Seconds from stop to out, and from running to back",
        "region": "${data.aws_region.current.region}",
        "stat": "Sum",
        "period": 300,
        "view": "timeSeries",
        "metrics": [
          ["elb-registrar", "SecondsToOut", "Stack", "${var.name}", "Function", "instance-state", {"stat": "p50", "label": "to out, p50"}],
          ["elb-registrar", "SecondsToOut", "Stack", "${var.name}", "Function", "instance-state", {"stat": "Maximum", "label": "to out, Maximum"}],
          ["elb-registrar", "SecondsToBack", "Stack", "${var.name}", "Function", "instance-state", {"stat": "p50", "label": "to back, p50"}],
          ["elb-registrar", "SecondsToBack", "Stack", "${var.name}", "Function", "instance-state", {"stat": "Maximum", "label": "to back, Maximum"}],
          ["elb-registrar", "SecondsToOut", "Stack", "${var.name}", "Function", "reconcile", {"stat": "Maximum", "label": "of many to out, Maximum"}],
          ["elb-registrar", "SecondsToBack", "Stack", "${var.name}", "Function", "reconcile", {"stat": "Maximum", "label": "of many to back, Maximum"}]
        ]
      }},
      {"type": "metric", "x": 12, "y": 19, "width": 12, "height": 6, "properties": {
        "title": "Failures by reason",
        "region": "${data.aws_region.current.region}",
        "stat": "Sum",
        "period": 300,
        "view": "timeSeries",
        "metrics": [
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "instance-state", "Reason", "Denied", {"label": "instance-state: Denied"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "instance-state", "Reason", "Throttled", {"label": "instance-state: Throttled"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "instance-state", "Reason", "Refused", {"label": "instance-state: Refused"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "instance-state", "Reason", "Unanswered", {"label": "instance-state: Unanswered"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "instance-state", "Reason", "NoRoom", {"label": "instance-state: NoRoom"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "lifecycle", "Reason", "Denied", {"label": "lifecycle: Denied"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "lifecycle", "Reason", "Throttled", {"label": "lifecycle: Throttled"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "lifecycle", "Reason", "Refused", {"label": "lifecycle: Refused"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "lifecycle", "Reason", "Unanswered", {"label": "lifecycle: Unanswered"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "lifecycle", "Reason", "NoRoom", {"label": "lifecycle: NoRoom"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "reconcile", "Reason", "Denied", {"label": "reconcile: Denied"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "reconcile", "Reason", "Throttled", {"label": "reconcile: Throttled"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "reconcile", "Reason", "Refused", {"label": "reconcile: Refused"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "reconcile", "Reason", "Unanswered", {"label": "reconcile: Unanswered"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "reconcile", "Reason", "NoRoom", {"label": "reconcile: NoRoom"}],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "reconcile", "Reason", "Unfinished", {"label": "reconcile: Unfinished"}]
        ]
      }},
      {"type": "metric", "x": 0, "y": 25, "width": 12, "height": 6, "properties": {
        "title": "Messages, and the age of the oldest",
        "region": "${data.aws_region.current.region}",
        "stat": "Maximum",
        "period": 300,
        "view": "timeSeries",
        "metrics": [
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${aws_sqs_queue.instance_state_queue.name}", {"label": "instance-state: waiting"}],
          ["AWS/SQS", "ApproximateNumberOfMessagesDelayed", "QueueName", "${aws_sqs_queue.instance_state_queue.name}", {"label": "instance-state: parked"}],
          ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", "${aws_sqs_queue.instance_state_queue.name}", {"label": "instance-state: worked on"}],
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${aws_sqs_queue.lifecycle_queue.name}", {"label": "lifecycle: waiting"}],
          ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", "${aws_sqs_queue.lifecycle_queue.name}", {"label": "lifecycle: held or worked on"}],
          ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "${aws_sqs_queue.lifecycle_queue.name}", {"label": "lifecycle: oldest, seconds", "yAxis": "right"}],
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${aws_sqs_queue.order_queue.name}", {"label": "orders: waiting"}],
          ["AWS/SQS", "ApproximateNumberOfMessagesNotVisible", "QueueName", "${aws_sqs_queue.order_queue.name}", {"label": "orders: worked on"}]
        ]
      }},
      {"type": "metric", "x": 12, "y": 25, "width": 12, "height": 6, "properties": {
        "title": "Dead letters",
        "region": "${data.aws_region.current.region}",
        "stat": "Maximum",
        "period": 300,
        "view": "timeSeries",
        "metrics": [
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${aws_sqs_queue.instance_state_dead_letter_queue.name}", {"label": "instance-state: failed or not understood"}],
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${aws_sqs_queue.instance_state_rule_dead_letter_queue.name}", {"label": "instance-state rule: not delivered"}],
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${aws_sqs_queue.lifecycle_dead_letter_queue.name}", {"label": "lifecycle: failed or not understood"}],
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${aws_sqs_queue.lifecycle_rule_dead_letter_queue.name}", {"label": "lifecycle rule: not delivered"}],
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${aws_sqs_queue.reconcile_dead_letter_queue.name}", {"label": "reconcile: failed sweeps"}],
          ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", "${aws_sqs_queue.order_dead_letter_queue.name}", {"label": "orders: failed"}]
        ]
      }},
      {"type": "metric", "x": 0, "y": 31, "width": 12, "height": 6, "properties": {
        "title": "Calls to AWS",
        "region": "${data.aws_region.current.region}",
        "stat": "Sum",
        "period": 300,
        "view": "timeSeries",
        "metrics": [
          ["elb-registrar", "Calls", "Stack", "${var.name}", "Function", "instance-state", {"label": "instance-state: calls"}],
          ["elb-registrar", "CallsThrottled", "Stack", "${var.name}", "Function", "instance-state", {"label": "instance-state: throttled"}],
          ["elb-registrar", "Calls", "Stack", "${var.name}", "Function", "lifecycle", {"label": "lifecycle: calls"}],
          ["elb-registrar", "CallsThrottled", "Stack", "${var.name}", "Function", "lifecycle", {"label": "lifecycle: throttled"}],
          ["elb-registrar", "Calls", "Stack", "${var.name}", "Function", "reconcile", {"label": "reconcile: calls"}],
          ["elb-registrar", "CallsThrottled", "Stack", "${var.name}", "Function", "reconcile", {"label": "reconcile: throttled"}]
        ]
      }},
      {"type": "metric", "x": 12, "y": 31, "width": 12, "height": 6, "properties": {
        "title": "Functions",
        "region": "${data.aws_region.current.region}",
        "stat": "Sum",
        "period": 300,
        "view": "timeSeries",
        "metrics": [
          ["AWS/Lambda", "Invocations", "FunctionName", "${aws_lambda_function.instance_state_function.function_name}", {"label": "instance-state: invocations"}],
          ["AWS/Lambda", "Errors", "FunctionName", "${aws_lambda_function.instance_state_function.function_name}", {"label": "instance-state: errors"}],
          ["AWS/Lambda", "Throttles", "FunctionName", "${aws_lambda_function.instance_state_function.function_name}", {"label": "instance-state: throttles"}],
          ["AWS/Lambda", "Invocations", "FunctionName", "${aws_lambda_function.lifecycle_function.function_name}", {"label": "lifecycle: invocations"}],
          ["AWS/Lambda", "Errors", "FunctionName", "${aws_lambda_function.lifecycle_function.function_name}", {"label": "lifecycle: errors"}],
          ["AWS/Lambda", "Throttles", "FunctionName", "${aws_lambda_function.lifecycle_function.function_name}", {"label": "lifecycle: throttles"}],
          ["AWS/Lambda", "Invocations", "FunctionName", "${aws_lambda_function.reconcile_function.function_name}", {"label": "reconcile: invocations"}],
          ["AWS/Lambda", "Errors", "FunctionName", "${aws_lambda_function.reconcile_function.function_name}", {"label": "reconcile: errors"}],
          ["AWS/Lambda", "Throttles", "FunctionName", "${aws_lambda_function.reconcile_function.function_name}", {"label": "reconcile: throttles"}],
          ["AWS/Lambda", "Duration", "FunctionName", "${aws_lambda_function.instance_state_function.function_name}", {"label": "instance-state: longest, ms", "stat": "Maximum", "yAxis": "right"}],
          ["AWS/Lambda", "Duration", "FunctionName", "${aws_lambda_function.lifecycle_function.function_name}", {"label": "lifecycle: longest, ms", "stat": "Maximum", "yAxis": "right"}],
          ["AWS/Lambda", "Duration", "FunctionName", "${aws_lambda_function.reconcile_function.function_name}", {"label": "reconcile: longest, ms", "stat": "Maximum", "yAxis": "right"}]
        ]
      }},
      {"type": "metric", "x": 0, "y": 37, "width": 12, "height": 6, "properties": {
        "title": "lifecycle: what it did",
        "region": "${data.aws_region.current.region}",
        "stat": "Sum",
        "period": 300,
        "view": "timeSeries",
        "metrics": [
          ["elb-registrar", "ActionsContinued", "Stack", "${var.name}", "Function", "lifecycle"],
          ["elb-registrar", "ActionsAbandoned", "Stack", "${var.name}", "Function", "lifecycle"],
          ["elb-registrar", "ActionsGivenUp", "Stack", "${var.name}", "Function", "lifecycle"],
          ["elb-registrar", "TakenOut", "Stack", "${var.name}", "Function", "lifecycle"],
          ["elb-registrar", "GivenBack", "Stack", "${var.name}", "Function", "lifecycle"],
          ["elb-registrar", "LetGo", "Stack", "${var.name}", "Function", "lifecycle"],
          ["elb-registrar", "NeedsAPerson", "Stack", "${var.name}", "Function", "lifecycle"],
          ["elb-registrar", "Failed", "Stack", "${var.name}", "Function", "lifecycle"],
          ["elb-registrar", "NotUnderstood", "Stack", "${var.name}", "Function", "lifecycle"]
        ]
      }},
      {"type": "metric", "x": 12, "y": 37, "width": 12, "height": 6, "properties": {
        "title": "Seconds that hooks are held, until healthy and until drained",
        "region": "${data.aws_region.current.region}",
        "stat": "Sum",
        "period": 300,
        "view": "timeSeries",
        "metrics": [
          ["elb-registrar", "SecondsToHealthy", "Stack", "${var.name}", "Function", "lifecycle", {"stat": "p50", "label": "to healthy, p50"}],
          ["elb-registrar", "SecondsToHealthy", "Stack", "${var.name}", "Function", "lifecycle", {"stat": "Maximum", "label": "to healthy, Maximum"}],
          ["elb-registrar", "SecondsToDrained", "Stack", "${var.name}", "Function", "lifecycle", {"stat": "p50", "label": "to drained, p50"}],
          ["elb-registrar", "SecondsToDrained", "Stack", "${var.name}", "Function", "lifecycle", {"stat": "Maximum", "label": "to drained, Maximum"}]
        ]
      }},
      {"type": "log", "x": 0, "y": 43, "width": 24, "height": 8, "properties": {
        "title": "Warnings and errors",
        "region": "${data.aws_region.current.region}",
        "view": "table",
        "query": "SOURCE '${aws_cloudwatch_log_group.instance_state_log_group.name}' | SOURCE '${aws_cloudwatch_log_group.lifecycle_log_group.name}' | SOURCE '${aws_cloudwatch_log_group.reconcile_log_group.name}' | fields @timestamp, level, message, why, @log | filter level in ['WARN', 'ERROR'] | sort @timestamp desc | limit 50"
      }}
    ]
  }
EOT
}

resource "aws_cloudwatch_query_definition" "deeds_query" {
  name = "${var.name}/what was done"
  log_group_names = [
    aws_cloudwatch_log_group.instance_state_log_group.name,
    aws_cloudwatch_log_group.lifecycle_log_group.name,
    aws_cloudwatch_log_group.reconcile_log_group.name,
  ]
  query_string = chomp(<<-EOT
  fields @timestamp, message, instance, registration, why
  | filter message in ['held', 'deregistered', 'registered', 'forgotten']
  | sort @timestamp desc
  | limit 1000
EOT
  )
}

resource "aws_cloudwatch_query_definition" "rehearsed_deeds_query" {
  name = "${var.name}/what enforce would do"
  log_group_names = [
    aws_cloudwatch_log_group.instance_state_log_group.name,
    aws_cloudwatch_log_group.lifecycle_log_group.name,
    aws_cloudwatch_log_group.reconcile_log_group.name,
  ]
  query_string = chomp(<<-EOT
  fields @timestamp, message, instance, registration, why
  | filter message like /^would be /
  | sort @timestamp desc
  | limit 1000
EOT
  )
}

resource "aws_cloudwatch_query_definition" "instance_query" {
  name = "${var.name}/one instance"
  log_group_names = [
    aws_cloudwatch_log_group.instance_state_log_group.name,
    aws_cloudwatch_log_group.lifecycle_log_group.name,
    aws_cloudwatch_log_group.reconcile_log_group.name,
  ]
  query_string = chomp(<<-EOT
  fields @timestamp, level, message, registration, what, hook, result, health, why
  | filter instance = 'i-0123456789abcdef0' # the id of yours
  | sort @timestamp asc
  | limit 1000
EOT
  )
}

resource "aws_cloudwatch_query_definition" "person_query" {
  name = "${var.name}/what needs a person"
  log_group_names = [
    aws_cloudwatch_log_group.instance_state_log_group.name,
    aws_cloudwatch_log_group.lifecycle_log_group.name,
    aws_cloudwatch_log_group.reconcile_log_group.name,
  ]
  query_string = chomp(<<-EOT
  filter message = 'needs a person'
  | stats count(*) as times, min(@timestamp) as first, max(@timestamp) as last by instance, what, why
  | sort last desc
EOT
  )
}

resource "aws_cloudwatch_query_definition" "failures_query" {
  name = "${var.name}/what failed"
  log_group_names = [
    aws_cloudwatch_log_group.instance_state_log_group.name,
    aws_cloudwatch_log_group.lifecycle_log_group.name,
    aws_cloudwatch_log_group.reconcile_log_group.name,
  ]
  query_string = chomp(<<-EOT
  filter message in ['failed', 'nothing could be done', 'cannot start', 'event not understood'] or message like /^panicked/
  | stats count(*) as times, min(@timestamp) as first, max(@timestamp) as last by message, reason, why
  | sort last desc
EOT
  )
}

resource "aws_cloudwatch_query_definition" "hooks_query" {
  name            = "${var.name}/lifecycle hooks"
  log_group_names = [aws_cloudwatch_log_group.lifecycle_log_group.name]
  query_string = chomp(<<-EOT
  fields @timestamp, group, hook, instance, result, why
  | filter message = 'lifecycle action'
  | sort @timestamp desc
  | limit 1000
EOT
  )
}

resource "aws_cloudwatch_query_definition" "sweeps_query" {
  name            = "${var.name}/sweeps and what they looked at"
  log_group_names = [aws_cloudwatch_log_group.reconcile_log_group.name]
  query_string = chomp(<<-EOT
  fields @timestamp, report.mode, looked_at, report.left.why, report.part
  | filter message = 'converged' and ispresent(looked_at)
  | sort @timestamp desc
  | limit 200
EOT
  )
}

resource "aws_cloudwatch_query_definition" "findings_query" {
  name            = "${var.name}/what sweeps found wrong"
  log_group_names = [aws_cloudwatch_log_group.reconcile_log_group.name]
  query_string = chomp(<<-EOT
  fields @timestamp, message, instance, registration, what, fate, why
  | filter message in ['wrong', 'orphan', 'let go']
  | sort @timestamp desc
  | limit 1000
EOT
  )
}

resource "aws_cloudwatch_query_definition" "invocations_query" {
  name = "${var.name}/time and memory of invocations"
  log_group_names = [
    aws_cloudwatch_log_group.instance_state_log_group.name,
    aws_cloudwatch_log_group.lifecycle_log_group.name,
    aws_cloudwatch_log_group.reconcile_log_group.name,
  ]
  query_string = chomp(<<-EOT
  filter type = 'platform.report'
  | stats count(*) as invocations, pct(record.metrics.durationMs, 50) as medianMs, max(record.metrics.durationMs) as longestMs, max(record.metrics.maxMemoryUsedMB) as memoryMB by @log
  | sort invocations desc
EOT
  )
}
