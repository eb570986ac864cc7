# The two hooks of an Auto Scaling group, for Terraform.

variable "group" {
  type        = string
  description = "The name of the Auto Scaling group."
}

resource "aws_autoscaling_lifecycle_hook" "launch" {
  autoscaling_group_name = var.group
  name                   = "elb-registrar-launch"
  lifecycle_transition   = "autoscaling:EC2_INSTANCE_LAUNCHING"
  heartbeat_timeout      = 900
  default_result         = "ABANDON"
  notification_metadata  = jsonencode({ register = ["tg:edge:443=eth0"] })
}

resource "aws_autoscaling_lifecycle_hook" "terminate" {
  autoscaling_group_name = var.group
  name                   = "elb-registrar-terminate"
  lifecycle_transition   = "autoscaling:EC2_INSTANCE_TERMINATING"
  heartbeat_timeout      = 900
  default_result         = "CONTINUE"
}
