"""Prediction by a run's network: MONAI's inference, from scans of any format to masks, sizes and a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from medsize.bundle.run.inference_settings import inference_settings
from medsize.bundle.run.summary import RunSummary, inference_bundle
from medsize.checks.weights import check_weights
from medsize.inference.areas import predict_areas
from medsize.inference.dicom_output import check_dicom_output, write_dicom_segs, write_dicom_srs
from medsize.inference.new_scans import find_new_scans, nothing_left, scan_states, stated_pixels, with_paths
from medsize.inference.output_folder import network_digest, open_output
from medsize.inference.pictures import LARGE
from medsize.inference.scanned_patient import scanned_patient
from medsize.inference.segmentation import Segmentation
from medsize.inference.series_choice import SeriesChoice
from medsize.inference.volumes import predict_volumes
from medsize.inference.where_to_look import WhereToLook, coarse_run, stated_regions
from medsize.scans.scan import ScanKind, noun_of
from medsize.sizes.table.size_table import SizeTable

__all__ = ["predict"]

NAME_REGIONS = (
    "the new scans. Name a data list with a roi or clicks for each (--data-list), a size table with these (--sizes), "
    "or a run on whole scans that finds them (--locate-by)."
)


def predict(
    run: Path,
    scans: Path,
    output_dir: Path,
    size_table: SizeTable | None = None,
    bundle: Path | None = None,
    dicom_seg: bool = False,
    report: Callable[[str], None] = print,
    data_list: Path | None = None,
    locate_by: Path | None = None,
    pixel_mm: float | None = None,
    large: int = LARGE,
    dicom_sr: bool = False,
    modalities: Sequence[str] = (),
    all_series: bool = False,
) -> list[str]:
    """
    Segment scans with the network that a run has trained; what was stopped before goes on.

    A network that was trained on regions of interest (``use_roi``) is applied to the regions that a data list or clicks
    state; to other scans around what a network on whole scans finds. Masks are in the space of the whole scans.

    ``output_dir`` gets ``images/``, the scans as NIfTI; ``masks/``, in the space of the scans, with their volumes;
    ``predictions.csv`` and ``predictions.json``, the volume of each structure in each scan, whether it is a lower bound
    since the structure reaches the edge of the view, and, with a size table, its error
    (:class:`medsize.metrics.RelativeSizeError`); ``montage.png``; and ``predictions.html``, a page of these.

    Args:
        run: output folder of a run.
        scans: an image file, or a folder with image files or DICOM series, at any depth.
        output_dir: folder to write to: new, empty, or begun by the same network. Then scans whose files are as they
            were are not segmented again.
        size_table: sizes to compare with; its images are paths from the folder ``scans``, for a series of its
            folder, or names as :func:`medsize.cohort.init_cohort` takes them.
        bundle: bundle of the run. Default: the path that the run recorded.
        dicom_seg: also write ``dicom_seg/``, see :func:`medsize.scans.dicom.seg_writer.write_dicom_seg`; all scans must
            be DICOM. These files name the patient, as the headers of the scans do.
        report: function that gets the command of MONAI that is run.
        data_list: data list with a ``roi`` or ``clicks`` for scans; its images are named like those of the table.
        locate_by: run on whole scans whose network finds the regions of the other scans. Default: the one that located
            the scans that the run was trained on, if any.
        pixel_mm: side of a pixel of the pictures, mm, whatever they state, unless the table has it. Default: what they
            state.
        large: number of pixels above which a picture is segmented row by row.
        dicom_sr: also write ``dicom_sr/``, see :func:`medsize.scans.dicom.sr_writer.write_dicom_sr`. The same holds.
        modalities: modalities of DICOM to segment. Default: that of the training, as its data list states it.
        all_series: segment other series, too. Default: see :class:`medsize.inference.series_choice.SeriesChoice`.

    Returns:
        the problems of single scans: those that could not be read or segmented, and parts of the output that are
        missing for others.

    Raises:
        ValueError: when nothing can be segmented, with the reason.
        subprocess.CalledProcessError: when the inference fails for another reason than a single scan.
    """
    bundle = inference_bundle(run, bundle)
    summary = RunSummary.read(run)
    on_regions = summary.roi
    if summary.doubt:
        report(f"{run}: {summary.doubt}")
    coarse = coarse_run(run, locate_by) if on_regions else None
    if not on_regions and (unused := data_list or locate_by):
        raise ValueError(f"{run} sees whole scans, so that {unused} has no effect. Leave it out.")
    new = find_new_scans(scans, report, None if all_series else SeriesChoice.of(run, modalities))
    if not new.named:
        raise nothing_left(new, "there is no scan to segment.", new.left_out)
    structures = inference_settings(run)["structures"]
    for kind in ["SEG"] * dicom_seg + ["SR"] * dicom_sr:
        check_dicom_output(kind, new.named.values(), structures)
    if size_table is not None:
        size_table = with_paths(size_table, new, structures, report)
    look = WhereToLook(stated_regions(data_list, size_table, new), coarse) if on_regions else None
    if look is not None and not look.knows_any:
        raise ValueError(f"{run} was cropped to regions of interest (use_roi), but found none of {NAME_REGIONS}")
    for doubt in size_table.doubts if size_table is not None else ():
        report(f"{size_table.source}: {doubt}")  # type: ignore[union-attr]
    check_weights(run, bundle)
    stated = look.stated if look is not None else {}
    sides = stated_pixels(new, size_table, pixel_mm)
    with open_output(output_dir, run, network_digest(run, bundle, coarse), report) as output:
        output.go_on(scan_states(new, stated, sides), report, noun_of(new.named.values()))
        for name, scan in new.named.items():
            if scan.kind in (ScanKind.SERIES, ScanKind.MULTIFRAME):
                output.scans[name]["patient"] = scanned_patient(scan.files[0])
                output.scans[name].pop("source", None)  # of earlier versions
        segmentation = Segmentation(run, bundle, output, report, look)
        if new.has_pictures:
            predicted = predict_areas(segmentation, new, size_table, sides, large)
        else:
            predicted = predict_volumes(segmentation, new, size_table)
        table = predicted.write(output_dir, run, report, new.left_out, summary.doubt)
        problems = [*new.problems, *predicted.problems]
        if dicom_seg:
            problems += write_dicom_segs(segmentation, predicted.scans)
        if dicom_sr:
            problems += write_dicom_srs(segmentation, predicted.scans, new.paths, table)
        return problems
