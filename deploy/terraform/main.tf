# Made from template.yaml by deploy/terraform_module.py: change the template, whose comments explain it, and run .ci/terraform --write.

locals {
  # The version of the code, which is a part of its files' names.
  version = "0.1.0"

  enforces        = (var.mode == "enforce")
  chooses_by_tag  = (var.scope == "tagged")
  traces          = (var.tracing == "Active")
  notifies        = !(var.alarm_topic_arn == "")
  has_metrics     = (var.log_class == "STANDARD")
  is_in_vpc       = !(join("", var.subnet_ids) == "")
  has_boundary    = !(var.permissions_boundary_arn == "")
  has_key         = !(var.kms_key_arn == "")
  is_in_china     = (data.aws_partition.current.partition == "aws-cn")
  is_in_gov_cloud = (data.aws_partition.current.partition == "aws-us-gov")
}

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

resource "aws_cloudwatch_event_rule" "instance_state_rule" {
  name        = "${var.name}-InstanceStateRule"
  description = "Instances that stop, or run again, for elb-registrar."
  event_pattern = jsonencode({
    account       = [data.aws_caller_identity.current.account_id]
    region        = [data.aws_region.current.region]
    source        = ["aws.ec2"]
    "detail-type" = ["EC2 Instance State-change Notification"]
    detail = {
      state = ["running", "stopping", "stopped", "shutting-down", "terminated"]
    }
  })
  tags = var.tags
}

resource "aws_cloudwatch_event_target" "instance_state_rule" {
  rule      = aws_cloudwatch_event_rule.instance_state_rule.name
  target_id = "queue"
  arn       = aws_sqs_queue.instance_state_queue.arn
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }
  dead_letter_config {
    arn = aws_sqs_queue.instance_state_rule_dead_letter_queue.arn
  }
}

resource "aws_sqs_queue" "instance_state_queue" {
  name                       = "${var.name}-InstanceStateQueue"
  visibility_timeout_seconds = 1800
  message_retention_seconds  = 1209600
  sqs_managed_sse_enabled    = local.has_key ? null : true
  kms_master_key_id          = local.has_key ? var.kms_key_arn : null
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.instance_state_dead_letter_queue.arn
    maxReceiveCount     = 16
  })
  tags = var.tags
}

resource "aws_sqs_queue" "instance_state_dead_letter_queue" {
  name                      = "${var.name}-InstanceStateDeadLetterQueue"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = local.has_key ? null : true
  kms_master_key_id         = local.has_key ? var.kms_key_arn : null
  tags                      = var.tags
}

resource "aws_sqs_queue" "instance_state_rule_dead_letter_queue" {
  name                      = "${var.name}-InstanceStateRuleDeadLetterQueue"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = local.has_key ? null : true
  kms_master_key_id         = local.has_key ? var.kms_key_arn : null
  redrive_allow_policy = jsonencode({
    redrivePermission = "denyAll"
  })
  tags = var.tags
}

resource "aws_sqs_queue_policy" "instance_state_queue_policy" {
  queue_url = aws_sqs_queue.instance_state_queue.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "OnlyTheRule"
        Effect = "Allow"
        Principal = {
          Service = "events.amazonaws.com"
        }
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.instance_state_queue.arn
        Condition = {
          ArnEquals = {
            "aws:SourceArn" = aws_cloudwatch_event_rule.instance_state_rule.arn
          }
        }
      },
    ]
  })
}

resource "aws_sqs_queue_policy" "instance_state_rule_dead_letter_queue_policy" {
  queue_url = aws_sqs_queue.instance_state_rule_dead_letter_queue.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "OnlyTheRule"
        Effect = "Allow"
        Principal = {
          Service = "events.amazonaws.com"
        }
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.instance_state_rule_dead_letter_queue.arn
        Condition = {
          ArnEquals = {
            "aws:SourceArn" = aws_cloudwatch_event_rule.instance_state_rule.arn
          }
        }
      },
    ]
  })
}

resource "aws_lambda_event_source_mapping" "instance_state_event_source" {
  event_source_arn        = aws_sqs_queue.instance_state_queue.arn
  function_name           = aws_lambda_function.instance_state_function.function_name
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  scaling_config {
    maximum_concurrency = 5
  }
  tags = var.tags
}

resource "aws_cloudwatch_log_group" "instance_state_log_group" {
  name              = "${var.name}-InstanceStateLogGroup"
  retention_in_days = var.log_retention_days
  log_group_class   = var.log_class
  kms_key_id        = local.has_key ? var.kms_key_arn : null
  tags              = var.tags
}

resource "aws_cloudwatch_event_rule" "lifecycle_rule" {
  name        = "${var.name}-LifecycleRule"
  description = "Instances that wait at a lifecycle hook of elb-registrar."
  event_pattern = jsonencode({
    account       = [data.aws_caller_identity.current.account_id]
    region        = [data.aws_region.current.region]
    source        = ["aws.autoscaling"]
    "detail-type" = ["EC2 Instance-launch Lifecycle Action", "EC2 Instance-terminate Lifecycle Action"]
    detail = {
      LifecycleHookName = [
        {
          prefix = var.lifecycle_hook_prefix
        },
      ]
    }
  })
  tags = var.tags
}

resource "aws_cloudwatch_event_target" "lifecycle_rule" {
  rule      = aws_cloudwatch_event_rule.lifecycle_rule.name
  target_id = "queue"
  arn       = aws_sqs_queue.lifecycle_queue.arn
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }
  dead_letter_config {
    arn = aws_sqs_queue.lifecycle_rule_dead_letter_queue.arn
  }
}

resource "aws_sqs_queue" "lifecycle_queue" {
  name                       = "${var.name}-LifecycleQueue"
  visibility_timeout_seconds = 720
  message_retention_seconds  = 1209600
  sqs_managed_sse_enabled    = local.has_key ? null : true
  kms_master_key_id          = local.has_key ? var.kms_key_arn : null
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.lifecycle_dead_letter_queue.arn
    maxReceiveCount     = 1000
  })
  tags = var.tags
}

resource "aws_sqs_queue" "lifecycle_dead_letter_queue" {
  name                      = "${var.name}-LifecycleDeadLetterQueue"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = local.has_key ? null : true
  kms_master_key_id         = local.has_key ? var.kms_key_arn : null
  tags                      = var.tags
}

resource "aws_sqs_queue" "lifecycle_rule_dead_letter_queue" {
  name                      = "${var.name}-LifecycleRuleDeadLetterQueue"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = local.has_key ? null : true
  kms_master_key_id         = local.has_key ? var.kms_key_arn : null
  redrive_allow_policy = jsonencode({
    redrivePermission = "denyAll"
  })
  tags = var.tags
}

resource "aws_sqs_queue_policy" "lifecycle_queue_policy" {
  queue_url = aws_sqs_queue.lifecycle_queue.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "OnlyTheRule"
        Effect = "Allow"
        Principal = {
          Service = "events.amazonaws.com"
        }
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.lifecycle_queue.arn
        Condition = {
          ArnEquals = {
            "aws:SourceArn" = aws_cloudwatch_event_rule.lifecycle_rule.arn
          }
        }
      },
    ]
  })
}

resource "aws_sqs_queue_policy" "lifecycle_rule_dead_letter_queue_policy" {
  queue_url = aws_sqs_queue.lifecycle_rule_dead_letter_queue.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "OnlyTheRule"
        Effect = "Allow"
        Principal = {
          Service = "events.amazonaws.com"
        }
        Action   = "sqs:SendMessage"
        Resource = aws_sqs_queue.lifecycle_rule_dead_letter_queue.arn
        Condition = {
          ArnEquals = {
            "aws:SourceArn" = aws_cloudwatch_event_rule.lifecycle_rule.arn
          }
        }
      },
    ]
  })
}

resource "aws_lambda_event_source_mapping" "lifecycle_event_source" {
  event_source_arn        = aws_sqs_queue.lifecycle_queue.arn
  function_name           = aws_lambda_function.lifecycle_function.function_name
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  scaling_config {
    maximum_concurrency = 5
  }
  tags = var.tags
}

resource "aws_cloudwatch_log_group" "lifecycle_log_group" {
  name              = "${var.name}-LifecycleLogGroup"
  retention_in_days = var.log_retention_days
  log_group_class   = var.log_class
  kms_key_id        = local.has_key ? var.kms_key_arn : null
  tags              = var.tags
}

resource "aws_sqs_queue" "reconcile_queue" {
  name                       = "${var.name}-ReconcileQueue"
  visibility_timeout_seconds = 960
  message_retention_seconds  = 3600
  sqs_managed_sse_enabled    = local.has_key ? null : true
  kms_master_key_id          = local.has_key ? var.kms_key_arn : null
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.reconcile_dead_letter_queue.arn
    maxReceiveCount     = 2
  })
  tags = var.tags
}

resource "aws_lambda_event_source_mapping" "reconcile_event_source" {
  event_source_arn        = aws_sqs_queue.reconcile_queue.arn
  function_name           = aws_lambda_function.reconcile_function.function_name
  batch_size              = 1
  function_response_types = ["ReportBatchItemFailures"]
  scaling_config {
    maximum_concurrency = 2
  }
  tags = var.tags
}

resource "aws_sqs_queue" "order_queue" {
  name                       = "${var.name}-OrderQueue.fifo"
  fifo_queue                 = true
  visibility_timeout_seconds = 960
  message_retention_seconds  = 1209600
  sqs_managed_sse_enabled    = local.has_key ? null : true
  kms_master_key_id          = local.has_key ? var.kms_key_arn : null
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.order_dead_letter_queue.arn
    maxReceiveCount     = 50
  })
  tags = var.tags
}

resource "aws_lambda_event_source_mapping" "order_event_source" {
  event_source_arn        = aws_sqs_queue.order_queue.arn
  function_name           = aws_lambda_function.reconcile_function.function_name
  batch_size              = 10
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags
}

resource "aws_sqs_queue" "order_dead_letter_queue" {
  name                      = "${var.name}-OrderDeadLetterQueue.fifo"
  fifo_queue                = true
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = local.has_key ? null : true
  kms_master_key_id         = local.has_key ? var.kms_key_arn : null
  tags                      = var.tags
}

resource "aws_sqs_queue" "reconcile_dead_letter_queue" {
  name                      = "${var.name}-ReconcileDeadLetterQueue"
  message_retention_seconds = 86400
  sqs_managed_sse_enabled   = local.has_key ? null : true
  kms_master_key_id         = local.has_key ? var.kms_key_arn : null
  tags                      = var.tags
}

resource "aws_cloudwatch_log_group" "reconcile_log_group" {
  name              = "${var.name}-ReconcileLogGroup"
  retention_in_days = var.log_retention_days
  log_group_class   = var.log_class
  kms_key_id        = local.has_key ? var.kms_key_arn : null
  tags              = var.tags
}

resource "aws_lambda_function" "instance_state_function" {
  function_name    = "${var.name}-InstanceStateFunction"
  filename         = local.code["instance-state"].filename
  source_code_hash = local.code["instance-state"].hash
  s3_bucket        = local.code["instance-state"].bucket
  s3_key           = local.code["instance-state"].key
  description      = "Takes instances that stop out of their balancers, and gives them back when they run."
  handler          = "bootstrap"
  memory_size      = 512
  role             = aws_iam_role.instance_state_role.arn
  runtime          = "provided.al2023"
  timeout          = 300
  architectures    = [var.architecture]
  dynamic "vpc_config" {
    for_each = local.is_in_vpc ? [true] : []
    content {
      subnet_ids         = var.subnet_ids
      security_group_ids = var.security_group_ids
    }
  }
  environment {
    variables = {
      REGISTRAR_MODE                  = var.mode
      REGISTRAR_SCOPE                 = var.scope
      REGISTRAR_LIFECYCLE_HOOK_PREFIX = var.lifecycle_hook_prefix
      REGISTRAR_OTHER_HOOK_PREFIXES   = var.other_hook_prefixes
      REGISTRAR_PRUNE_ORPHANS         = var.prune_orphans
      REGISTRAR_STACK                 = var.name
      REGISTRAR_QUEUE_URL             = aws_sqs_queue.instance_state_queue.url
      REGISTRAR_ORDER_QUEUE_URL       = aws_sqs_queue.order_queue.url
      REGISTRAR_DEAD_LETTER_QUEUE_URL = aws_sqs_queue.instance_state_dead_letter_queue.url
    }
  }
  tracing_config {
    mode = var.tracing
  }
  logging_config {
    log_format            = "JSON"
    application_log_level = var.log_level
    system_log_level      = "INFO"
    log_group             = aws_cloudwatch_log_group.instance_state_log_group.name
  }
  tags = var.tags
  depends_on = [
    aws_iam_role_policy.instance_state_role,
    aws_iam_role_policy_attachment.instance_state_role_reading_policy,
    aws_iam_role_policy_attachment.instance_state_role_changing_policy,
    aws_iam_role_policy_attachment.instance_state_role_key_policy,
    aws_iam_role_policy_attachment.instance_state_role_network_policy,
  ]
}

resource "aws_lambda_function_recursion_config" "instance_state_function" {
  function_name  = aws_lambda_function.instance_state_function.function_name
  recursive_loop = "Allow"
}

resource "aws_lambda_function" "lifecycle_function" {
  function_name    = "${var.name}-LifecycleFunction"
  filename         = local.code["lifecycle"].filename
  source_code_hash = local.code["lifecycle"].hash
  s3_bucket        = local.code["lifecycle"].bucket
  s3_key           = local.code["lifecycle"].key
  description      = "Holds lifecycle hooks until an instance is drained, or healthy."
  handler          = "bootstrap"
  memory_size      = 512
  role             = aws_iam_role.lifecycle_role.arn
  runtime          = "provided.al2023"
  timeout          = 120
  architectures    = [var.architecture]
  dynamic "vpc_config" {
    for_each = local.is_in_vpc ? [true] : []
    content {
      subnet_ids         = var.subnet_ids
      security_group_ids = var.security_group_ids
    }
  }
  environment {
    variables = {
      REGISTRAR_MODE                   = var.mode
      REGISTRAR_SCOPE                  = var.scope
      REGISTRAR_LIFECYCLE_HOOK_PREFIX  = var.lifecycle_hook_prefix
      REGISTRAR_OTHER_HOOK_PREFIXES    = var.other_hook_prefixes
      REGISTRAR_PRUNE_ORPHANS          = var.prune_orphans
      REGISTRAR_STACK                  = var.name
      REGISTRAR_QUEUE_URL              = aws_sqs_queue.lifecycle_queue.url
      REGISTRAR_DEAD_LETTER_QUEUE_URL  = aws_sqs_queue.lifecycle_dead_letter_queue.url
      REGISTRAR_HEALTH_TIMEOUT_SECONDS = var.health_timeout
      REGISTRAR_NETWORK_DRAIN_SECONDS  = var.network_drain_time
    }
  }
  tracing_config {
    mode = var.tracing
  }
  logging_config {
    log_format            = "JSON"
    application_log_level = var.log_level
    system_log_level      = "INFO"
    log_group             = aws_cloudwatch_log_group.lifecycle_log_group.name
  }
  tags = var.tags
  depends_on = [
    aws_iam_role_policy.lifecycle_role,
    aws_iam_role_policy_attachment.lifecycle_role_reading_policy,
    aws_iam_role_policy_attachment.lifecycle_role_changing_policy,
    aws_iam_role_policy_attachment.lifecycle_role_key_policy,
    aws_iam_role_policy_attachment.lifecycle_role_network_policy,
  ]
}

resource "aws_lambda_function" "reconcile_function" {
  function_name    = "${var.name}-ReconcileFunction"
  filename         = local.code["reconcile"].filename
  source_code_hash = local.code["reconcile"].hash
  s3_bucket        = local.code["reconcile"].bucket
  s3_key           = local.code["reconcile"].key
  description      = "Sweeps the account for changes that no event told, and repairs them."
  handler          = "bootstrap"
  memory_size      = 512
  role             = aws_iam_role.reconcile_role.arn
  runtime          = "provided.al2023"
  timeout          = 900
  architectures    = [var.architecture]
  dynamic "vpc_config" {
    for_each = local.is_in_vpc ? [true] : []
    content {
      subnet_ids         = var.subnet_ids
      security_group_ids = var.security_group_ids
    }
  }
  environment {
    variables = {
      REGISTRAR_MODE                  = var.mode
      REGISTRAR_SCOPE                 = var.scope
      REGISTRAR_LIFECYCLE_HOOK_PREFIX = var.lifecycle_hook_prefix
      REGISTRAR_OTHER_HOOK_PREFIXES   = var.other_hook_prefixes
      REGISTRAR_PRUNE_ORPHANS         = var.prune_orphans
      REGISTRAR_STACK                 = var.name
      REGISTRAR_QUEUE_URL             = aws_sqs_queue.reconcile_queue.url
      REGISTRAR_ORDER_QUEUE_URL       = aws_sqs_queue.order_queue.url
      REGISTRAR_EVENT_QUEUE_URL       = aws_sqs_queue.instance_state_queue.url
      REGISTRAR_DEAD_LETTER_QUEUE_URL = aws_sqs_queue.instance_state_dead_letter_queue.url
    }
  }
  tracing_config {
    mode = var.tracing
  }
  logging_config {
    log_format            = "JSON"
    application_log_level = var.log_level
    system_log_level      = "INFO"
    log_group             = aws_cloudwatch_log_group.reconcile_log_group.name
  }
  tags = var.tags
  depends_on = [
    aws_iam_role_policy.reconcile_role,
    aws_iam_role_policy_attachment.reconcile_role_reading_policy,
    aws_iam_role_policy_attachment.reconcile_role_changing_policy,
    aws_iam_role_policy_attachment.reconcile_role_key_policy,
    aws_iam_role_policy_attachment.reconcile_role_network_policy,
  ]
}

resource "aws_lambda_function_recursion_config" "reconcile_function" {
  function_name  = aws_lambda_function.reconcile_function.function_name
  recursive_loop = "Allow"
}

resource "aws_lambda_function_event_invoke_config" "reconcile_function_event_invoke_config" {
  function_name                = aws_lambda_function.reconcile_function.function_name
  maximum_event_age_in_seconds = 900
  maximum_retry_attempts       = 1
  qualifier                    = "$LATEST"
  destination_config {
    on_failure {
      destination = aws_sqs_queue.reconcile_dead_letter_queue.arn
    }
  }
}

resource "aws_cloudwatch_event_rule" "reconcile_function_schedule" {
  name                = "${var.name}-ReconcileFunctionSchedule"
  description         = "The sweep of elb-registrar."
  schedule_expression = var.reconcile_schedule
  tags                = var.tags
}

resource "aws_cloudwatch_event_target" "reconcile_function_schedule" {
  rule      = aws_cloudwatch_event_rule.reconcile_function_schedule.name
  target_id = "ReconcileFunctionScheduleLambdaTarget"
  arn       = aws_lambda_function.reconcile_function.arn
  retry_policy {
    maximum_event_age_in_seconds = 900
    maximum_retry_attempts       = 10
  }
}

resource "aws_lambda_permission" "reconcile_function_schedule_permission" {
  statement_id  = "ReconcileFunctionSchedulePermission"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.reconcile_function.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.reconcile_function_schedule.arn
}
