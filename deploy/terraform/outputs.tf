# Made from template.yaml by deploy/terraform_module.py: change the template, whose comments explain it, and run .ci/terraform --write.

output "instance_state_function_name" {
  description = "Converges the instances that an event names. A file of events/ is a test event for it."
  value       = aws_lambda_function.instance_state_function.function_name
}

output "instance_state_function_arn" {
  description = "As above; for a rule of your own, straight to the function."
  value       = aws_lambda_function.instance_state_function.arn
}

output "lifecycle_function_name" {
  description = "Serves an instance that waits at a lifecycle hook, on its way in or out. A file of events/ is a test event for it."
  value       = aws_lambda_function.lifecycle_function.function_name
}

output "lifecycle_function_arn" {
  description = "As above; for a rule of your own, straight to the function."
  value       = aws_lambda_function.lifecycle_function.arn
}

output "lifecycle_hook_prefix" {
  description = "The required beginning of a lifecycle hook's name."
  value       = var.lifecycle_hook_prefix
}

output "lifecycle_queue_url" {
  description = "Lifecycle actions that are being worked on; in flight are those that are held."
  value       = aws_sqs_queue.lifecycle_queue.url
}

output "lifecycle_dead_letter_queue_url" {
  description = "Lifecycle actions that failed for good, or that no function understands."
  value       = aws_sqs_queue.lifecycle_dead_letter_queue.url
}

output "lifecycle_rule_dead_letter_queue_url" {
  description = "Lifecycle actions that EventBridge could not put into the queue."
  value       = aws_sqs_queue.lifecycle_rule_dead_letter_queue.url
}

output "reconcile_function_name" {
  description = "Sweeps the whole account. {} is a test event for it."
  value       = aws_lambda_function.reconcile_function.function_name
}

output "reconcile_function_arn" {
  description = "As above."
  value       = aws_lambda_function.reconcile_function.arn
}

output "instance_state_queue_url" {
  description = "Events that are being worked on; delayed are those that wait for something."
  value       = aws_sqs_queue.instance_state_queue.url
}

output "instance_state_dead_letter_queue_url" {
  description = "Events that failed for good, or that no function understands. To be redriven when the cause is gone."
  value       = aws_sqs_queue.instance_state_dead_letter_queue.url
}

output "instance_state_rule_dead_letter_queue_url" {
  description = "Events that EventBridge could not put into the queue."
  value       = aws_sqs_queue.instance_state_rule_dead_letter_queue.url
}

output "reconcile_dead_letter_queue_url" {
  description = "Sweeps that failed. They go after a day."
  value       = aws_sqs_queue.reconcile_dead_letter_queue.url
}

output "order_queue_url" {
  description = "Instances that do the same at once, and wait for the sweep that works on all of them."
  value       = aws_sqs_queue.order_queue.url
}

output "order_dead_letter_queue_url" {
  description = "Sweeps of many at once that failed for good. To be redriven when the cause is gone."
  value       = aws_sqs_queue.order_dead_letter_queue.url
}

output "instance_state_log_group_name" {
  description = "The log of instance-state's actions and reasons; for `sam logs` and CloudWatch Logs Insights."
  value       = aws_cloudwatch_log_group.instance_state_log_group.name
}

output "lifecycle_log_group_name" {
  description = "The log of the hooks that lifecycle held, with times and reasons."
  value       = aws_cloudwatch_log_group.lifecycle_log_group.name
}

output "reconcile_log_group_name" {
  description = "The log of reconcile's findings and actions."
  value       = aws_cloudwatch_log_group.reconcile_log_group.name
}

output "dashboard_url" {
  description = "Everything at a glance."
  value       = "https://${local.is_in_china ? "console.amazonaws.cn" : (local.is_in_gov_cloud ? "console.amazonaws-us-gov.com" : "console.aws.amazon.com")}/cloudwatch/home?region=${data.aws_region.current.region}#dashboards/dashboard/${aws_cloudwatch_dashboard.dashboard.dashboard_name}"
}
