"""Turn a run into a report: python evaluate.py run=latest, or run=FOLDER data=ciplab split=test."""

from faceproof.programs import evaluate

if __name__ == "__main__":
    evaluate()
