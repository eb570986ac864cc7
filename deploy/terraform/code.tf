# Where the zip files of the release are. Lambda reads them from this machine, or from a bucket in the Region of the functions.

variable "code_folder" {
  type        = string
  default     = null
  description = "A folder with the zip files of the release, from which Terraform uploads them. Or else code_bucket."
}

variable "code_bucket" {
  type        = string
  default     = null
  description = "A bucket with the zip files of the release, in the Region of the functions. Or else code_folder."
}

variable "code_prefix" {
  type        = string
  default     = ""
  description = "What stands before the names of the zip files in the bucket, with a slash at its end."

  validation {
    condition     = can(regex("^([A-Za-z0-9!_.*'()-]+/)*$", var.code_prefix))
    error_message = "Code_prefix has to be empty, or end with a slash."
  }
}

locals {
  # The version in a key makes Lambda take new code: a bucket's content is not looked at.
  code = {
    for binary in ["instance-state", "lifecycle", "reconcile"] : binary => {
      filename = var.code_folder == null ? null : "${var.code_folder}/elb-registrar-${local.version}-${binary}-${var.architecture}.zip"
      hash     = var.code_folder == null ? null : filebase64sha256("${var.code_folder}/elb-registrar-${local.version}-${binary}-${var.architecture}.zip")
      bucket   = var.code_folder == null ? var.code_bucket : null
      key      = var.code_folder == null ? "${var.code_prefix}elb-registrar-${local.version}-${binary}-${var.architecture}.zip" : null
    }
  }
}
