# Made from template.yaml by deploy/terraform_module.py: change the template, whose comments explain it, and run .ci/terraform --write.

resource "aws_cloudwatch_metric_alarm" "instance_state_dead_letters_alarm" {
  alarm_name        = "${var.name}-InstanceStateDeadLettersAlarm"
  alarm_description = "Events that failed for about eight hours, or that no function understands (their attribute `reason` says why), are in the dead-letter queue. Mend the cause that the log names, then redrive the queue: an event is only a hint to look again."
  namespace         = "AWS/SQS"
  metric_name       = "ApproximateNumberOfMessagesVisible"
  dimensions = {
    QueueName = aws_sqs_queue.instance_state_dead_letter_queue.name
  }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "instance_state_rule_dead_letters_alarm" {
  alarm_name        = "${var.name}-InstanceStateRuleDeadLettersAlarm"
  alarm_description = "EventBridge could not put events into the queue. Without permission it gives up at once, otherwise after a day: look at the policy of InstanceStateQueue, and at its key. The sweep serves these instances meanwhile, so purge the queue when it is put right."
  namespace         = "AWS/SQS"
  metric_name       = "ApproximateNumberOfMessagesVisible"
  dimensions = {
    QueueName = aws_sqs_queue.instance_state_rule_dead_letter_queue.name
  }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "reconcile_dead_letters_alarm" {
  alarm_name        = "${var.name}-ReconcileDeadLettersAlarm"
  alarm_description = "A sweep failed twice, or could not even start. The message in the queue says why. The next sweep does it all again, so purge the queue when it is put right, or let its messages go after a day."
  namespace         = "AWS/SQS"
  metric_name       = "ApproximateNumberOfMessagesVisible"
  dimensions = {
    QueueName = aws_sqs_queue.reconcile_dead_letter_queue.name
  }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "order_dead_letters_alarm" {
  alarm_name        = "${var.name}-OrderDeadLettersAlarm"
  alarm_description = "Sweeps of many instances at once died fifty times, or could not reach the queue of events: the log of reconcile says why. Put it right, then redrive the queue; the scheduled sweep does the same meanwhile."
  namespace         = "AWS/SQS"
  metric_name       = "ApproximateNumberOfMessagesVisible"
  dimensions = {
    QueueName = aws_sqs_queue.order_dead_letter_queue.name
  }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "instance_state_denied_alarm" {
  count             = local.has_metrics ? 1 : 0
  alarm_name        = "${var.name}-InstanceStateDeniedAlarm"
  alarm_description = "A permission is missing for instance-state: the log names the action. Nothing is lost, the work is tried again."
  namespace         = "elb-registrar"
  metric_name       = "Failed"
  dimensions = {
    Stack    = var.name
    Function = "instance-state"
    Reason   = "Denied"
  }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "reconcile_denied_alarm" {
  count             = local.has_metrics ? 1 : 0
  alarm_name        = "${var.name}-ReconcileDeniedAlarm"
  alarm_description = "A permission is missing for reconcile: the log names the action. Nothing is lost, the work is tried again."
  namespace         = "elb-registrar"
  metric_name       = "Failed"
  dimensions = {
    Stack    = var.name
    Function = "reconcile"
    Reason   = "Denied"
  }
  statistic           = "Sum"
  period              = var.sweep_alarm_period
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "instance_state_failed_alarm" {
  count               = local.has_metrics ? 1 : 0
  alarm_name          = "${var.name}-InstanceStateFailedAlarm"
  alarm_description   = "instance-state has failed at something for half an hour: the log names it. It is tried again until it succeeds or becomes a dead letter."
  evaluation_periods  = 2
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  metric_query {
    return_data = true
    id          = "filled"
    expression  = "FILL(written, 0)"
    label       = "Failed"
  }
  metric_query {
    id          = "written"
    return_data = false
    metric {
      metric_name = "Failed"
      namespace   = "elb-registrar"
      period      = 900
      stat        = "Sum"
      dimensions = {
        Stack    = var.name
        Function = "instance-state"
      }
    }
  }
  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "reconcile_failed_alarm" {
  count               = local.has_metrics ? 1 : 0
  alarm_name          = "${var.name}-ReconcileFailedAlarm"
  alarm_description   = "reconcile has failed at something in each of two periods of SweepAlarmPeriod: the log names it. Every sweep tries again."
  evaluation_periods  = 2
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  metric_query {
    return_data = true
    id          = "filled"
    expression  = "FILL(written, 0)"
    label       = "Failed"
  }
  metric_query {
    id          = "written"
    return_data = false
    metric {
      metric_name = "Failed"
      namespace   = "elb-registrar"
      period      = var.sweep_alarm_period
      stat        = "Sum"
      dimensions = {
        Stack    = var.name
        Function = "reconcile"
      }
    }
  }
  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "instance_state_needs_a_person_alarm" {
  count             = local.has_metrics ? 1 : 0
  alarm_name        = "${var.name}-InstanceStateNeedsAPersonAlarm"
  alarm_description = "instance-state has found a case that it cannot or must not decide: the log names it, and the reason."
  namespace         = "elb-registrar"
  metric_name       = "NeedsAPerson"
  dimensions = {
    Stack    = var.name
    Function = "instance-state"
  }
  statistic           = "Sum"
  period              = 900
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "reconcile_needs_a_person_alarm" {
  count             = local.has_metrics ? 1 : 0
  alarm_name        = "${var.name}-ReconcileNeedsAPersonAlarm"
  alarm_description = "reconcile has found a case that it cannot or must not decide: the log names it, and the reason."
  namespace         = "elb-registrar"
  metric_name       = "NeedsAPerson"
  dimensions = {
    Stack    = var.name
    Function = "reconcile"
  }
  statistic           = "Sum"
  period              = var.sweep_alarm_period
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "reconcile_orphans_alarm" {
  count               = local.has_metrics ? 1 : 0
  alarm_name          = "${var.name}-ReconcileOrphansAlarm"
  alarm_description   = "Target groups list addresses that no network interface has: the subnet can give them to other hosts, which then receive the traffic. The report in the log names them. Deregister them, or set PruneOrphans=true."
  evaluation_periods  = 2
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  metric_query {
    return_data = true
    id          = "filled"
    expression  = "FILL(written, 0)"
    label       = "Orphans"
  }
  metric_query {
    id          = "written"
    return_data = false
    metric {
      metric_name = "Orphans"
      namespace   = "elb-registrar"
      period      = var.sweep_alarm_period
      stat        = "Sum"
      dimensions = {
        Stack    = var.name
        Function = "reconcile"
      }
    }
  }
  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "reconcile_held_while_running_alarm" {
  count             = local.has_metrics ? 1 : 0
  alarm_name        = "${var.name}-ReconcileHeldWhileRunningAlarm"
  alarm_description = "Instances run, and their tags still hold registrations that they should have back: they get no traffic there. If Mode is observe, nothing gives them back: deploy with Mode=enforce, or register them by hand. In enforce, the report of the sweep in the log says what is in the way."
  namespace         = "elb-registrar"
  metric_name       = "HeldWhileRunning"
  dimensions = {
    Stack    = var.name
    Function = "reconcile"
  }
  statistic           = "Sum"
  period              = var.sweep_alarm_period
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "reconcile_missing_alarm" {
  count               = local.has_metrics ? 1 : 0
  alarm_name          = "${var.name}-ReconcileMissingAlarm"
  alarm_description   = "No sweep has come to an end in two periods of SweepAlarmPeriod: is the schedule's rule on, does the function start, and is SweepAlarmPeriod longer than ReconcileSchedule is wide? Missed events are found by nothing else."
  evaluation_periods  = 2
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "ignore"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  metric_query {
    return_data = true
    id          = "filled"
    expression  = "FILL(written, 0)"
    label       = "Sweeps"
  }
  metric_query {
    id          = "written"
    return_data = false
    metric {
      metric_name = "Sweeps"
      namespace   = "elb-registrar"
      period      = var.sweep_alarm_period
      stat        = "Sum"
      dimensions = {
        Stack    = var.name
        Function = "reconcile"
      }
    }
  }
  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "instance_state_queue_unread_alarm" {
  alarm_name        = "${var.name}-InstanceStateQueueUnreadAlarm"
  alarm_description = "Events wait and no function takes them: is the event source mapping on, and is the function throttled or failing at its start?"
  namespace         = "AWS/SQS"
  metric_name       = "ApproximateNumberOfMessagesVisible"
  dimensions = {
    QueueName = aws_sqs_queue.instance_state_queue.name
  }
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "order_queue_unread_alarm" {
  alarm_name        = "${var.name}-OrderQueueUnreadAlarm"
  alarm_description = "Orders of sweeps wait for an hour and no function takes them: is the event source mapping OrderEventSource on, and is reconcile throttled or failing at its start? Instances that stop together are served by the scheduled sweep alone."
  namespace         = "AWS/SQS"
  metric_name       = "ApproximateNumberOfMessagesVisible"
  dimensions = {
    QueueName = aws_sqs_queue.order_queue.name
  }
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 12
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "instance_state_errors_alarm" {
  alarm_name          = "${var.name}-InstanceStateErrorsAlarm"
  alarm_description   = "instance-state crashes, runs out of time or memory, or cannot start (a wrong setting). Its messages come back after half an hour."
  evaluation_periods  = 4
  datapoints_to_alarm = 2
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  metric_query {
    return_data = true
    id          = "filled"
    expression  = "FILL(written, 0)"
    label       = "Errors"
  }
  metric_query {
    id          = "written"
    return_data = false
    metric {
      metric_name = "Errors"
      namespace   = "AWS/Lambda"
      period      = 900
      stat        = "Sum"
      dimensions = {
        FunctionName = aws_lambda_function.instance_state_function.function_name
      }
    }
  }
  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "instance_state_throttles_alarm" {
  alarm_name          = "${var.name}-InstanceStateThrottlesAlarm"
  alarm_description   = "The account's limit of concurrent executions leaves none for instance-state. Lambda tries again for half an hour, which counts as one receive of a message; after 16 of them an event is a dead letter. Raise the limit, or free some of it."
  evaluation_periods  = 2
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  metric_query {
    return_data = true
    id          = "filled"
    expression  = "FILL(written, 0)"
    label       = "Throttles"
  }
  metric_query {
    id          = "written"
    return_data = false
    metric {
      metric_name = "Throttles"
      namespace   = "AWS/Lambda"
      period      = 900
      stat        = "Sum"
      dimensions = {
        FunctionName = aws_lambda_function.instance_state_function.function_name
      }
    }
  }
  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "lifecycle_dead_letters_alarm" {
  alarm_name        = "${var.name}-LifecycleDeadLettersAlarm"
  alarm_description = "Lifecycle actions that failed for hours, or that no function understands (their attribute `reason` says why), are in the dead-letter queue. Mend the cause that the log names. Their hooks ran out of time, or will."
  namespace         = "AWS/SQS"
  metric_name       = "ApproximateNumberOfMessagesVisible"
  dimensions = {
    QueueName = aws_sqs_queue.lifecycle_dead_letter_queue.name
  }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "lifecycle_rule_dead_letters_alarm" {
  alarm_name        = "${var.name}-LifecycleRuleDeadLettersAlarm"
  alarm_description = "EventBridge could not put lifecycle actions into the queue. Without permission it gives up at once, otherwise after a day: look at the policy of LifecycleQueue, and at its key. Their hooks end by their own clocks."
  namespace         = "AWS/SQS"
  metric_name       = "ApproximateNumberOfMessagesVisible"
  dimensions = {
    QueueName = aws_sqs_queue.lifecycle_rule_dead_letter_queue.name
  }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "lifecycle_denied_alarm" {
  count             = local.has_metrics ? 1 : 0
  alarm_name        = "${var.name}-LifecycleDeniedAlarm"
  alarm_description = "A permission is missing for lifecycle: the log names the action. Hooks are held meanwhile, up to their limits."
  namespace         = "elb-registrar"
  metric_name       = "Failed"
  dimensions = {
    Stack    = var.name
    Function = "lifecycle"
    Reason   = "Denied"
  }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "lifecycle_failed_alarm" {
  count               = local.has_metrics ? 1 : 0
  alarm_name          = "${var.name}-LifecycleFailedAlarm"
  alarm_description   = "lifecycle has failed at something for half an hour: the log names it. It is tried again until the hook's limit."
  evaluation_periods  = 2
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  metric_query {
    return_data = true
    id          = "filled"
    expression  = "FILL(written, 0)"
    label       = "Failed"
  }
  metric_query {
    id          = "written"
    return_data = false
    metric {
      metric_name = "Failed"
      namespace   = "elb-registrar"
      period      = 900
      stat        = "Sum"
      dimensions = {
        Stack    = var.name
        Function = "lifecycle"
      }
    }
  }
  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "lifecycle_needs_a_person_alarm" {
  count             = local.has_metrics ? 1 : 0
  alarm_name        = "${var.name}-LifecycleNeedsAPersonAlarm"
  alarm_description = "lifecycle has found a case that it cannot or must not decide, such as a declaration that names no balancer: its launch waits for a person until the hook's time is up. The log names it, and the reason."
  namespace         = "elb-registrar"
  metric_name       = "NeedsAPerson"
  dimensions = {
    Stack    = var.name
    Function = "lifecycle"
  }
  statistic           = "Sum"
  period              = 900
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "lifecycle_queue_unread_alarm" {
  alarm_name        = "${var.name}-LifecycleQueueUnreadAlarm"
  alarm_description = "Lifecycle actions wait and no function takes them: is the event source mapping on, and is the function throttled or failing at its start? Their hooks run out of time."
  namespace         = "AWS/SQS"
  metric_name       = "ApproximateNumberOfMessagesVisible"
  dimensions = {
    QueueName = aws_sqs_queue.lifecycle_queue.name
  }
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "lifecycle_queue_old_alarm" {
  alarm_name        = "${var.name}-LifecycleQueueOldAlarm"
  alarm_description = "A lifecycle action has been held for two hours: longer than any draining lasts. Look for its instance in the log."
  namespace         = "AWS/SQS"
  metric_name       = "ApproximateAgeOfOldestMessage"
  dimensions = {
    QueueName = aws_sqs_queue.lifecycle_queue.name
  }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 3
  threshold           = 7200
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "lifecycle_errors_alarm" {
  alarm_name          = "${var.name}-LifecycleErrorsAlarm"
  alarm_description   = "lifecycle crashes, runs out of time or memory, or cannot start (a wrong setting). Its messages come back, perhaps too late for their hooks."
  evaluation_periods  = 2
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  metric_query {
    return_data = true
    id          = "filled"
    expression  = "FILL(written, 0)"
    label       = "Errors"
  }
  metric_query {
    id          = "written"
    return_data = false
    metric {
      metric_name = "Errors"
      namespace   = "AWS/Lambda"
      period      = 900
      stat        = "Sum"
      dimensions = {
        FunctionName = aws_lambda_function.lifecycle_function.function_name
      }
    }
  }
  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "lifecycle_throttles_alarm" {
  alarm_name          = "${var.name}-LifecycleThrottlesAlarm"
  alarm_description   = "The account's limit of concurrent executions leaves none for lifecycle. Lambda tries again for twelve minutes before it receives a message anew. Hooks may run out of time."
  evaluation_periods  = 2
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  metric_query {
    return_data = true
    id          = "filled"
    expression  = "FILL(written, 0)"
    label       = "Throttles"
  }
  metric_query {
    id          = "written"
    return_data = false
    metric {
      metric_name = "Throttles"
      namespace   = "AWS/Lambda"
      period      = 900
      stat        = "Sum"
      dimensions = {
        FunctionName = aws_lambda_function.lifecycle_function.function_name
      }
    }
  }
  tags = var.tags
}

resource "aws_cloudwatch_metric_alarm" "lifecycle_given_up_alarm" {
  count             = local.has_metrics ? 1 : 0
  alarm_name        = "${var.name}-LifecycleGivenUpAlarm"
  alarm_description = "An instance was not healthy in time, or could not be drained for certain: its hook was completed all the same. The log names the open registrations."
  namespace         = "elb-registrar"
  metric_name       = "ActionsGivenUp"
  dimensions = {
    Stack    = var.name
    Function = "lifecycle"
  }
  statistic           = "Sum"
  period              = 900
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = local.notifies ? [var.alarm_topic_arn] : null
  ok_actions          = local.notifies ? [var.alarm_topic_arn] : null
  tags                = var.tags
}
