#!/bin/sh
# Measures every method with one model, from the list of pictures to the tables of docs/evaluation.md:
#   sh scripts/evaluate/evaluate.sh [MODEL]        default: models/demo
# Goes on where it was stopped. Everything is kept in build/evaluation, or the folder WORK.
# PYTHON    a Python with numpy, scipy, Pillow and torch; default: python3
# STEPS     of the scheduler, the same for every method: default 20, of which 16 run at strength 0.8
# STRENGTH GUIDANCE      of every method: default 0.8 and 9
# CUT       options of cut: default "--lambda 60 --inner 2"
# PAIRS PHOTOS SEEDS     size of the grid: defaults 27, 5 and 4, which are 540 pictures
# FEW       pictures of anomalyany, which is slow: default 40
# WHOLE     pictures made once more without the photo's own pixels around them: default 80
# LIMIT     pictures of the other methods: default all
# THREADS   of torch: default 2
# AT_ONCE   calls of the program at the same time: default 1; 2 on two processor cores make a third more pictures
# JUDGE SCORE DETECT     options of those scripts, such as DETECT="--seeds 5"
# DOC       the page that is filled in: default docs/evaluation.md
set -eu
cd "$(dirname "$0")/../.."
model=${1:-models/demo} python=${PYTHON:-python3} work=${WORK:-build/evaluation} here=scripts/evaluate
steps=${STEPS:-20} strength=${STRENGTH:-0.8} guidance=${GUIDANCE:-9} few=${FEW:-40} limit=${LIMIT:-0}
export OMP_NUM_THREADS="${THREADS:-2}"
mkdir -p "$work"

say() { echo "== $* ($(date +%H:%M:%S))" >&2; }
make() {
    "$python" $here/run.py "$work" --model "$model" --blemish "${BLEMISH:-build/blemish}" --steps "$steps" --strength "$strength" \
        --guidance "$guidance" --at-once "${AT_ONCE:-1}" "$@"
}
own() { case $1 in cut) echo "${CUT:---lambda 60 --inner 2}" ;; esac; } # options of a method

say the list of pictures
[ -f "$work/grid/jobs.json" ] || "$python" $here/grid.py "$work" --pairs "${PAIRS:-27}" --photos "${PHOTOS:-5}" --seeds "${SEEDS:-4}"
say the judge
[ -f "$work/judge/judge.pt" ] || "$python" $here/judge.py "$work" ${JUDGE:-}
say the pictures
for m in cutpaste scar; do
    "$python" $here/run.py "$work" --method $m --limit "$limit"
done
make --method roundtrip
for m in control sd attend cut; do
    # shellcheck disable=SC2046 # a list of options
    make --method $m --limit "$limit" -- $(own $m)
done
make --method anomalyany --limit "$few"
make --method sd --name sd-long --match cut --limit "$limit" # as much time as cut
for m in control sd attend cut; do # what the model drew, which --whole keeps
    # shellcheck disable=SC2046
    make --method $m --name $m-whole --limit "${WHOLE:-80}" -- --whole $(own $m)
done
say scores
"$python" $here/score.py "$work" ${SCORE:-}
say detection
"$python" $here/detect.py "$work" --arms cutpaste,scar,sd,attend,cut,real ${DETECT:-}
"$python" $here/detect.py "$work" --arms cutpaste,sd,attend,cut,anomalyany,real --count "$few" --name detect-few ${DETECT:-}
say tables and sheets
"$python" $here/report.py "$work" --doc "${DOC:-docs/evaluation.md}"
