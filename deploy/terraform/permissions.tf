# Made from template.yaml by deploy/terraform_module.py: change the template, whose comments explain it, and run .ci/terraform --write.

resource "aws_iam_role" "instance_state_role" {
  name                 = "${var.name}-InstanceStateRole-${data.aws_region.current.region}"
  description          = "What elb-registrar's function instance-state may do."
  path                 = var.role_path
  permissions_boundary = local.has_boundary ? var.permissions_boundary_arn : null
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Principal = {
          Service = "lambda.amazonaws.com"
        }
        Action = "sts:AssumeRole"
        Condition = {
          StringEquals = {
            "aws:SourceAccount" = data.aws_caller_identity.current.account_id
          }
        }
      },
    ]
  })
  tags = var.tags
}

resource "aws_iam_role_policy" "instance_state_role" {
  name = "instance-state"
  role = aws_iam_role.instance_state_role.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "TakeEventsAndSendThemAgain"
          Effect   = "Allow"
          Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"]
          Resource = aws_sqs_queue.instance_state_queue.arn
        },
        {
          Sid      = "BuryWhatNobodyUnderstands"
          Effect   = "Allow"
          Action   = "sqs:SendMessage"
          Resource = aws_sqs_queue.instance_state_dead_letter_queue.arn
        },
      ],
      local.chooses_by_tag ? [
        {
          Sid      = "ReadHooksOfGroups"
          Effect   = "Allow"
          Action   = "autoscaling:DescribeLifecycleHooks"
          Resource = "*"
        },
      ] : [],
      [
        {
          Sid      = "OrderOneSweepOfMany"
          Effect   = "Allow"
          Action   = "sqs:SendMessage"
          Resource = aws_sqs_queue.order_queue.arn
        },
        {
          Sid      = "WriteItsOwnLog"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${aws_cloudwatch_log_group.instance_state_log_group.arn}:*"
        },
      ],
      local.traces ? [
        {
          Sid      = "SendTraces"
          Effect   = "Allow"
          Action   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
          Resource = "*"
        },
      ] : [],
    )
  })
}

resource "aws_iam_role_policy_attachment" "instance_state_role_reading_policy" {
  role       = aws_iam_role.instance_state_role.name
  policy_arn = aws_iam_policy.reading_policy.arn
}

resource "aws_iam_role_policy_attachment" "instance_state_role_changing_policy" {
  count      = local.enforces ? 1 : 0
  role       = aws_iam_role.instance_state_role.name
  policy_arn = aws_iam_policy.changing_policy[0].arn
}

resource "aws_iam_role_policy_attachment" "instance_state_role_key_policy" {
  count      = local.has_key ? 1 : 0
  role       = aws_iam_role.instance_state_role.name
  policy_arn = aws_iam_policy.key_policy[0].arn
}

resource "aws_iam_role_policy_attachment" "instance_state_role_network_policy" {
  count      = local.is_in_vpc ? 1 : 0
  role       = aws_iam_role.instance_state_role.name
  policy_arn = aws_iam_policy.network_policy[0].arn
}

resource "aws_iam_role" "lifecycle_role" {
  name                 = "${var.name}-LifecycleRole-${data.aws_region.current.region}"
  description          = "What elb-registrar's function lifecycle may do."
  path                 = var.role_path
  permissions_boundary = local.has_boundary ? var.permissions_boundary_arn : null
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Principal = {
          Service = "lambda.amazonaws.com"
        }
        Action = "sts:AssumeRole"
        Condition = {
          StringEquals = {
            "aws:SourceAccount" = data.aws_caller_identity.current.account_id
          }
        }
      },
    ]
  })
  tags = var.tags
}

resource "aws_iam_role_policy" "lifecycle_role" {
  name = "lifecycle"
  role = aws_iam_role.lifecycle_role.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "TakeEventsAndParkThem"
          Effect   = "Allow"
          Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"]
          Resource = aws_sqs_queue.lifecycle_queue.arn
        },
        {
          Sid      = "ReadHooks"
          Effect   = "Allow"
          Action   = "autoscaling:DescribeLifecycleHooks"
          Resource = "*"
        },
        {
          Sid      = "ReadDrainingTimes"
          Effect   = "Allow"
          Action   = "elasticloadbalancing:DescribeLoadBalancerAttributes"
          Resource = "*"
        },
        {
          Sid      = "LetHooksGo"
          Effect   = "Allow"
          Action   = "autoscaling:CompleteLifecycleAction"
          Resource = "arn:${data.aws_partition.current.partition}:autoscaling:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:autoScalingGroup:*:autoScalingGroupName/*"
        },
      ],
      local.enforces ? [
        {
          Sid      = "HoldHooks"
          Effect   = "Allow"
          Action   = "autoscaling:RecordLifecycleActionHeartbeat"
          Resource = "arn:${data.aws_partition.current.partition}:autoscaling:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:autoScalingGroup:*:autoScalingGroupName/*"
        },
      ] : [],
      [
        {
          Sid      = "BuryWhatNobodyUnderstands"
          Effect   = "Allow"
          Action   = "sqs:SendMessage"
          Resource = aws_sqs_queue.lifecycle_dead_letter_queue.arn
        },
        {
          Sid      = "WriteItsOwnLog"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${aws_cloudwatch_log_group.lifecycle_log_group.arn}:*"
        },
      ],
      local.traces ? [
        {
          Sid      = "SendTraces"
          Effect   = "Allow"
          Action   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
          Resource = "*"
        },
      ] : [],
    )
  })
}

resource "aws_iam_role_policy_attachment" "lifecycle_role_reading_policy" {
  role       = aws_iam_role.lifecycle_role.name
  policy_arn = aws_iam_policy.reading_policy.arn
}

resource "aws_iam_role_policy_attachment" "lifecycle_role_changing_policy" {
  count      = local.enforces ? 1 : 0
  role       = aws_iam_role.lifecycle_role.name
  policy_arn = aws_iam_policy.changing_policy[0].arn
}

resource "aws_iam_role_policy_attachment" "lifecycle_role_key_policy" {
  count      = local.has_key ? 1 : 0
  role       = aws_iam_role.lifecycle_role.name
  policy_arn = aws_iam_policy.key_policy[0].arn
}

resource "aws_iam_role_policy_attachment" "lifecycle_role_network_policy" {
  count      = local.is_in_vpc ? 1 : 0
  role       = aws_iam_role.lifecycle_role.name
  policy_arn = aws_iam_policy.network_policy[0].arn
}

resource "aws_iam_role" "reconcile_role" {
  name                 = "${var.name}-ReconcileRole-${data.aws_region.current.region}"
  description          = "What elb-registrar's function reconcile may do."
  path                 = var.role_path
  permissions_boundary = local.has_boundary ? var.permissions_boundary_arn : null
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect = "Allow"
        Principal = {
          Service = "lambda.amazonaws.com"
        }
        Action = "sts:AssumeRole"
        Condition = {
          StringEquals = {
            "aws:SourceAccount" = data.aws_caller_identity.current.account_id
          }
        }
      },
    ]
  })
  tags = var.tags
}

resource "aws_iam_role_policy" "reconcile_role" {
  name = "reconcile"
  role = aws_iam_role.reconcile_role.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      local.chooses_by_tag ? [
        {
          Sid      = "ReadHooksOfGroups"
          Effect   = "Allow"
          Action   = "autoscaling:DescribeLifecycleHooks"
          Resource = "*"
        },
      ] : [],
      [
        {
          Sid      = "GoOnWhereASweepStopped"
          Effect   = "Allow"
          Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:SendMessage"]
          Resource = aws_sqs_queue.reconcile_queue.arn
        },
        {
          Sid    = "ServeOrders"
          Effect = "Allow"
          Action = [
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ChangeMessageVisibility",
            "sqs:SendMessage",
          ]
          Resource = aws_sqs_queue.order_queue.arn
        },
        {
          Sid      = "LeaveToEventsWhatIsStillOpen"
          Effect   = "Allow"
          Action   = "sqs:SendMessage"
          Resource = aws_sqs_queue.instance_state_queue.arn
        },
        {
          Sid      = "BuryWhatNobodyUnderstands"
          Effect   = "Allow"
          Action   = "sqs:SendMessage"
          Resource = aws_sqs_queue.instance_state_dead_letter_queue.arn
        },
        {
          Sid      = "ReportFailedSweeps"
          Effect   = "Allow"
          Action   = "sqs:SendMessage"
          Resource = aws_sqs_queue.reconcile_dead_letter_queue.arn
        },
        {
          Sid      = "WriteItsOwnLog"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = "${aws_cloudwatch_log_group.reconcile_log_group.arn}:*"
        },
      ],
      local.traces ? [
        {
          Sid      = "SendTraces"
          Effect   = "Allow"
          Action   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
          Resource = "*"
        },
      ] : [],
    )
  })
}

resource "aws_iam_role_policy_attachment" "reconcile_role_reading_policy" {
  role       = aws_iam_role.reconcile_role.name
  policy_arn = aws_iam_policy.reading_policy.arn
}

resource "aws_iam_role_policy_attachment" "reconcile_role_changing_policy" {
  count      = local.enforces ? 1 : 0
  role       = aws_iam_role.reconcile_role.name
  policy_arn = aws_iam_policy.changing_policy[0].arn
}

resource "aws_iam_role_policy_attachment" "reconcile_role_key_policy" {
  count      = local.has_key ? 1 : 0
  role       = aws_iam_role.reconcile_role.name
  policy_arn = aws_iam_policy.key_policy[0].arn
}

resource "aws_iam_role_policy_attachment" "reconcile_role_network_policy" {
  count      = local.is_in_vpc ? 1 : 0
  role       = aws_iam_role.reconcile_role.name
  policy_arn = aws_iam_policy.network_policy[0].arn
}

resource "aws_iam_policy" "reading_policy" {
  name        = "${var.name}-ReadingPolicy-${data.aws_region.current.region}"
  description = "What elb-registrar reads. AWS knows no narrower resource than all for any of these actions."
  path        = var.role_path
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "ReadInstancesAndAddresses"
        Effect   = "Allow"
        Action   = ["ec2:DescribeInstances", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"]
        Resource = "*"
      },
      {
        Sid    = "ReadBalancers"
        Effect = "Allow"
        Action = [
          "elasticloadbalancing:DescribeLoadBalancers",
          "elasticloadbalancing:DescribeInstanceHealth",
          "elasticloadbalancing:DescribeTargetGroups",
          "elasticloadbalancing:DescribeTargetHealth",
          "elasticloadbalancing:DescribeTargetGroupAttributes",
          "elasticloadbalancing:DescribeTags",
        ]
        Resource = "*"
      },
      {
        Sid      = "ReadWhatAutoScalingGroupsOwn"
        Effect   = "Allow"
        Action   = ["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances"]
        Resource = "*"
      },
    ]
  })
  tags = var.tags
}

resource "aws_iam_policy" "changing_policy" {
  count       = local.enforces ? 1 : 0
  name        = "${var.name}-ChangingPolicy-${data.aws_region.current.region}"
  description = "What elb-registrar changes."
  path        = var.role_path
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "RememberOnTheInstance"
        Effect   = "Allow"
        Action   = ["ec2:CreateTags", "ec2:DeleteTags"]
        Resource = "arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:instance/*"
        Condition = {
          "ForAllValues:StringLike" = {
            "aws:TagKeys" = ["elb-registrar:held", "elb-registrar:held.*"]
          }
          Null = {
            "aws:TagKeys" = "false"
          }
        }
      },
      {
        Sid      = "RegisterAndDeregisterTargets"
        Effect   = "Allow"
        Action   = ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"]
        Resource = "arn:${data.aws_partition.current.partition}:elasticloadbalancing:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:targetgroup/*/*"
      },
      {
        Sid    = "RegisterAndDeregisterInstances"
        Effect = "Allow"
        Action = [
          "elasticloadbalancing:RegisterInstancesWithLoadBalancer",
          "elasticloadbalancing:DeregisterInstancesFromLoadBalancer",
        ]
        Resource = "arn:${data.aws_partition.current.partition}:elasticloadbalancing:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:loadbalancer/*"
      },
    ]
  })
  tags = var.tags
}

resource "aws_iam_policy" "key_policy" {
  count       = local.has_key ? 1 : 0
  name        = "${var.name}-KeyPolicy-${data.aws_region.current.region}"
  description = "How elb-registrar reads and writes encrypted messages."
  path        = var.role_path
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "ReadAndWriteMessages"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = var.kms_key_arn
        Condition = {
          StringLike = {
            "kms:ViaService" = "sqs.${data.aws_region.current.region}.amazonaws.com*"
          }
        }
      },
    ]
  })
  tags = var.tags
}

resource "aws_iam_policy" "network_policy" {
  count       = local.is_in_vpc ? 1 : 0
  name        = "${var.name}-NetworkPolicy-${data.aws_region.current.region}"
  description = "How Lambda puts elb-registrar's functions into subnets."
  path        = var.role_path
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "LetLambdaMakeInterfaces"
        Effect = "Allow"
        Action = [
          "ec2:AssignPrivateIpAddresses",
          "ec2:CreateNetworkInterface",
          "ec2:DeleteNetworkInterface",
          "ec2:DescribeSecurityGroups",
          "ec2:DescribeVpcs",
          "ec2:UnassignPrivateIpAddresses",
        ]
        Resource = "*"
        Condition = {
          Null = {
            "lambda:SourceFunctionArn" = "true"
          }
        }
      },
    ]
  })
  tags = var.tags
}
