#!/usr/bin/env bash
# checkov over the plan of an environment, but for the checks in checkov-skip.txt.
# usage: checkov.sh ENV. Needs Terraform (TERRAFORM) and checkov (CHECKOV; tried with 3.3.30).
set -euo pipefail
env=$1
here=$(dirname "$(realpath "$0")")
terraform=${TERRAFORM:-terraform}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$here/.." "$scratch/terraform"
find "$scratch" \( -name .terraform -o -name 'backend.tf' -o -name '.terraform.lock.hcl' \) -prune -exec rm -rf {} +
cd "$scratch/terraform/envs/$env"
"$terraform" -chdir="$PWD" init -backend=false -input=false >/dev/null
for kafka in vm managed; do
  for runtime in mig worker_pool; do
    "$terraform" -chdir="$PWD" plan -input=false -out=plan.bin -var project_id=acme-wiki -var deployed=true -var image_tag=v1 \
      -var on_call_email=ops@example.org -var kafka=$kafka -var runtime=$runtime -var store=true -var managed_kafka_without_login=true >/dev/null
    "$terraform" -chdir="$PWD" show -json plan.bin >plan.json
    "${CHECKOV:-checkov}" -f plan.json --framework terraform_plan --repo-root-for-plan-enrichment ../.. \
      --skip-check "$(grep -o '^CKV[A-Z0-9_]*' "$here/checkov-skip.txt" | paste -sd, || true)" \
      --quiet --compact --skip-download
    echo "passed  checkov $env $kafka $runtime"
  done
done
