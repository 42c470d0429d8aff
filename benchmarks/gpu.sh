#!/usr/bin/env bash
# Everything a GPU should be asked once one is at hand, in at most nine minutes.  Figures go to the folder given (default:
# gpu_figures), the ML-100K run among them, for results4comparison/table.py keep.
#
#     bash benchmarks/gpu.sh [FOLDER] [train_augment CSV of ML-100K]
#
# With the authors' labels as second argument the run on ML-100K is set beside the published one.
set -uo pipefail
out=$(realpath -m "${1:-gpu_figures}")
labels=${2:+$(realpath -m "$2")}
python=${PYTHON:-python}
if [ -e "$out" ]; then echo "$out is there already; give another folder" >&2; exit 2; fi
if [ -n "$labels" ] && [ ! -f "$labels" ]; then echo "$labels: no such file" >&2; exit 2; fi
cd "$(dirname "$0")/.."
mkdir -p "$out"
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv > "$out/device.txt"

echo "--- tests"
timeout 120 "$python" -m pytest -q -n 0 tests/test_cuda.py > "$out/tests.txt" 2>&1
tail -1 "$out/tests.txt"

echo "--- kernels and epochs"
timeout 60 "$python" -W ignore benchmarks/propagation.py --device cuda | tee "$out/propagation.txt"
timeout 120 "$python" -W ignore benchmarks/epoch.py --device cuda | tee "$out/epoch.txt"
timeout 60 "$python" -W ignore benchmarks/models.py --device cuda | tee "$out/models.txt"

echo "--- ML-100K to its end"
more=(--llm rule)
if [ -n "$labels" ]; then
  mkdir -p "$out/data/ML-100K" && cp "$labels" "$out/data/ML-100K/ML-100K_train_augment.csv"
  more=()
fi
timeout 180 "$python" -W ignore main.py --dataset ML-100K --device cuda --data_dir "$out/data" --result_dir "$out/result" \
  --path_name gpu_2024 "${more[@]}" > "$out/ml-100k.txt" 2>&1
tail -3 "$out/ml-100k.txt"
if [ -n "$labels" ]; then
  "$python" results4comparison/compare.py "$out/result/ML-100K/gpu_2024" | tee "$out/compare.txt"
fi
