# Made from template.yaml by deploy/terraform_module.py: change the template, whose comments explain it, and run .ci/terraform --write.

variable "name" {
  type        = string
  default     = "elb-registrar"
  description = "The beginning of every resource's name, and the dimension Stack of the metrics: another one for a second installation in a Region."
  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,24}$", var.name))
    error_message = "Name has to be 1 to 25 letters, digits and hyphens, and begin with a letter."
  }
}

variable "tags" {
  type        = map(string)
  default     = {}
  description = "Tags for every resource that can have them."
}

variable "mode" {
  type        = string
  default     = "observe"
  description = "observe: decide and report in the log, change nothing (and have no permission to). enforce: decide and act."
  validation {
    condition     = contains(["observe", "enforce"], var.mode)
    error_message = "Mode has to be one of observe, enforce."
  }
}

variable "scope" {
  type        = string
  default     = "all"
  description = "all: every instance of the account in this Region. tagged: only instances with the tag elb-registrar:register, which may be empty. In both, an instance or a balancer with the tag elb-registrar:ignore is left alone."
  validation {
    condition     = contains(["all", "tagged"], var.scope)
    error_message = "Scope has to be one of all, tagged."
  }
}

variable "prune_orphans" {
  type        = string
  default     = "false"
  description = "true: the sweep deregisters ip targets whose address no network interface of the VPC has, after a second look a minute later. prune-unattached: it deregisters addresses of interfaces that are attached to nothing, too. false: it only reports them. In Mode observe none is deregistered. Scope does not narrow it: an orphan has no tags."
  validation {
    condition     = contains(["true", "false", "prune-unattached"], var.prune_orphans)
    error_message = "Prune_orphans has to be one of true, false, prune-unattached."
  }
}

variable "reconcile_schedule" {
  type        = string
  default     = "rate(15 minutes)"
  description = "How often everything is checked, for the events that AWS never delivered. An EventBridge rate or cron expression. Too often: more calls. Too rarely: a longer wait for a missed event."
  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.reconcile_schedule))
    error_message = "Reconcile_schedule has to be an EventBridge schedule, such as rate(15 minutes) or cron(0 * * * ? *)."
  }
}

variable "lifecycle_hook_prefix" {
  type        = string
  default     = "elb-registrar"
  description = "Lifecycle hooks whose names begin with this are held until draining is over or health is real, and then completed. All others are left to the tools that serve them."
  validation {
    condition     = can(regex("^[A-Za-z0-9_/-]{1,255}$", var.lifecycle_hook_prefix))
    error_message = "Lifecycle_hook_prefix has to be the beginning of a lifecycle hook's name - letters, digits, hyphens, underscores and slashes."
  }
}

variable "health_timeout" {
  type        = number
  default     = 0
  description = "How many seconds a launching instance may take until all its registrations are healthy. Then its launch is abandoned or continued, as the hook's default result says. 0 - as long as the hook's own heartbeat timeout."
  validation {
    condition     = var.health_timeout >= 0 && var.health_timeout <= 172800
    error_message = "Health_timeout has to be from 0 to 172800."
  }
}

variable "network_drain_time" {
  type        = number
  default     = 120
  description = "How many seconds a Network Load Balancer may go on opening new connections to a target that was deregistered, which is about two minutes. A terminating instance is held for so long, and for the deregistration delay of the target group."
  validation {
    condition     = var.network_drain_time >= 0 && var.network_drain_time <= 3600
    error_message = "Network_drain_time has to be from 0 to 3600."
  }
}

variable "alarm_topic_arn" {
  type        = string
  default     = ""
  description = "ARN of an SNS topic that hears of alarms and of their end. Empty - the alarms are there, and send no message."
  validation {
    condition     = can(regex("^$|^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", var.alarm_topic_arn))
    error_message = "Alarm_topic_arn has to be empty, or the ARN of a standard SNS topic in this Region."
  }
}

variable "log_level" {
  type        = string
  default     = "INFO"
  description = "The lowest level that is logged. INFO has one line for each batch, and the metrics. DEBUG is for the hunt of a bug."
  validation {
    condition     = contains(["TRACE", "DEBUG", "INFO"], var.log_level)
    error_message = "Log_level has to be one of TRACE, DEBUG, INFO."
  }
}

variable "log_retention_days" {
  type        = number
  default     = 30
  description = "How many days logs are kept."
  validation {
    condition = contains([
      1,
      3,
      5,
      7,
      14,
      30,
      60,
      90,
      120,
      150,
      180,
      365,
      400,
      545,
      731,
      1096,
      1827,
      2192,
      2557,
      2922,
      3288,
      3653,
    ], var.log_retention_days)
    error_message = "Log_retention_days has to be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}

variable "tracing" {
  type        = string
  default     = "PassThrough"
  description = "Active samples invocations for X-Ray, which costs extra."
  validation {
    condition     = contains(["PassThrough", "Active"], var.tracing)
    error_message = "Tracing has to be one of PassThrough, Active."
  }
}

variable "architecture" {
  type        = string
  default     = "arm64"
  description = "The processor that the functions are built for and run on. arm64 is the cheaper one."
  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "Architecture has to be one of arm64, x86_64."
  }
}
