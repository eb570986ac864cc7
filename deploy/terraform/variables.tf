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
  description = "How often everything is checked, for the events that AWS never delivered. An EventBridge rate or cron expression. Too often: more calls. Too rarely: a longer wait for a missed event. SweepAlarmPeriod has to be longer."
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

variable "other_hook_prefixes" {
  type        = string
  default     = ""
  description = "The LifecycleHookPrefix of every other stack of elb-registrar in this account and Region, with commas between them. Needed only where one prefix is the beginning of another, as with elb-registrar and elb-registrar-blue. The longer one then has the hook. Without it, both stacks serve the hook, and the first to complete it ends what the other waits for."
  validation {
    condition     = can(regex("^$|^[A-Za-z0-9_/-]{1,255}(,[A-Za-z0-9_/-]{1,255})*$", var.other_hook_prefixes))
    error_message = "Other_hook_prefixes has to be empty, or the beginnings of lifecycle hooks' names with commas between them, and no spaces."
  }
}

variable "health_timeout" {
  type        = string
  default     = "0"
  description = "How many seconds a launching instance may take until all its registrations are healthy. Then its launch is abandoned or continued, as the hook's default result says. 0 - as long as the hook's own heartbeat timeout."
  validation {
    condition     = can(regex("^([0-9]{1,5}|1[0-6][0-9]{4}|17[01][0-9]{3}|172[0-7][0-9]{2}|172800)$", var.health_timeout))
    error_message = "Health_timeout has to be a whole number of seconds from 0 to 172800."
  }
}

variable "network_drain_time" {
  type        = string
  default     = "120"
  description = "How many seconds a Network Load Balancer may go on opening new connections to a target that was deregistered, which is about two minutes. A terminating instance is held for so long, and for the deregistration delay of the target group."
  validation {
    condition     = can(regex("^([0-9]{1,3}|[12][0-9]{3}|3[0-5][0-9]{2}|3600)$", var.network_drain_time))
    error_message = "Network_drain_time has to be a whole number of seconds from 0 to 3600."
  }
}

variable "alarm_topic_arn" {
  type        = string
  default     = ""
  description = "ARN of an SNS topic that hears of alarms and of their end. Empty - the alarms are there, and send no message. The policy of a topic that is encrypted with a key of your own has to let cloudwatch.amazonaws.com use the key."
  validation {
    condition     = can(regex("^$|^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", var.alarm_topic_arn))
    error_message = "Alarm_topic_arn has to be empty, or the ARN of a standard SNS topic in this Region."
  }
}

variable "sweep_alarm_period" {
  type        = number
  default     = 1800
  description = "Alarms look at the sweep in periods of so many seconds. One rings when no sweep has come in two of them. It has to be longer than ReconcileSchedule is wide; twice as long is good. Shorter: false alarms. Longer: an alarm comes later."
  validation {
    condition     = contains([1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 302400], var.sweep_alarm_period)
    error_message = "Sweep_alarm_period has to be one of 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 302400."
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

variable "log_class" {
  type        = string
  default     = "STANDARD"
  description = "STANDARD: all of CloudWatch Logs. INFREQUENT_ACCESS: half the price of writing, and no metrics from the log. Then the alarms on failures, on what needs a person, on orphans and on missing sweeps are not there, and the dashboard's graphs of these are empty. Lines are read by Logs Insights alone. Choose at the first deployment: CloudFormation cannot change the class of a log group."
  validation {
    condition     = contains(["STANDARD", "INFREQUENT_ACCESS"], var.log_class)
    error_message = "Log_class has to be one of STANDARD, INFREQUENT_ACCESS."
  }
}

variable "tracing" {
  type        = string
  default     = "PassThrough"
  description = "Active samples invocations for X-Ray, which costs extra. In the Regions of China, Lambda has no X-Ray: leave PassThrough there."
  validation {
    condition     = contains(["PassThrough", "Active"], var.tracing)
    error_message = "Tracing has to be one of PassThrough, Active."
  }
}

variable "architecture" {
  type        = string
  default     = "arm64"
  description = "The processor that the functions are built for and run on. arm64 is the cheaper one. `sam build` and `sam deploy` have to be told the same, as by `--config-env x86_64` or `--parameter-overrides Architecture=x86_64`."
  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "Architecture has to be one of arm64, x86_64."
  }
}

variable "subnet_ids" {
  type        = list(string)
  default     = []
  description = "Subnets for the functions, with commas between them. They need a way to the APIs of EC2, Elastic Load Balancing, Auto Scaling, SQS: a NAT gateway, a proxy, or interface endpoints for all four. Empty - the functions run outside of your VPCs."
}

variable "security_group_ids" {
  type        = list(string)
  default     = []
  description = "Security groups for the functions in SubnetIds, with commas between them. They have to let HTTPS out, and need let nothing in. Needed with SubnetIds, and unused without."
}

variable "permissions_boundary_arn" {
  type        = string
  default     = ""
  description = "ARN of a managed policy that every role gets as its permissions boundary. It has to allow what the roles need. Empty - none."
  validation {
    condition     = can(regex("^$|^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "Permissions_boundary_arn has to be empty, or the ARN of a managed policy."
  }
}

variable "role_path" {
  type        = string
  default     = "/"
  description = "The path of all roles and policies, where your company allows only some."
  validation {
    condition     = can(regex("^/([!-.0-~]+/)*$", var.role_path))
    error_message = "Role_path has to begin and end with a slash, such as /platform/."
  }
  validation {
    condition     = length(var.role_path) >= 0 && length(var.role_path) <= 512
    error_message = "Role_path has to begin and end with a slash, such as /platform/."
  }
}

variable "kms_key_arn" {
  type        = string
  default     = ""
  description = "ARN of a symmetric KMS key of your own for all queues and log groups. Its key policy has to let events.amazonaws.com call GenerateDataKey and Decrypt, and logs.REGION.amazonaws.com Encrypt, Decrypt, ReEncrypt, GenerateDataKey and Describe. The functions' roles get their permission here. Empty - SQS's and CloudWatch's own keys."
  validation {
    condition     = can(regex("^$|^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$", var.kms_key_arn))
    error_message = "Kms_key_arn has to be empty, or the ARN of a key (not of an alias) in this Region."
  }
}
