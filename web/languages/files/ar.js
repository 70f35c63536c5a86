// Arabic: the texts of files.

import { intl } from "../intl.js";

/** @import {FileTexts} from "../files.js" */

const { plural, number } = intl("ar");

/** A text of its own direction, such as a Latin name, that does not disturb the sentence. @param {string} text */
const isolated = (text) => `\u2068${text}\u2069`;

/** @type {FileTexts} */
export const ar = {
  kindAndSize: (kind, size) => `${isolated(kind)} · ${isolated(size)}`,
  unknownKind: "ملف",
  openPicture: (name) => `فتح الصورة ${isolated(name)}`,
  download: "تنزيل",
  downloadNamed: (name) => `تنزيل ${isolated(name)}`,
  gone: "لم يعد متاحًا",
  notLoaded: "تعذّر التحميل.",
  copyPicture: "نسخ الصورة",
  pictureCopied: "تم نسخ الصورة.",
  text: {
    showMoreOf: (name) => `عرض المزيد من ${isolated(name)}`,
    cut: (size) => `هذه بداية الملف، ${isolated(size)}. نزّله لقراءة الباقي.`,
  },
  upload: {
    waiting: "بانتظار الاتصال",
    progress: (sent, size) => `${isolated(sent)} من ${isolated(size)}`,
    checking: "قيد الفحص",
    cancel: "إلغاء",
    label: "الرفع",
  },
  player: {
    play: "تشغيل",
    pause: "إيقاف مؤقت",
    position: "الموضع",
    at: (at, duration) => `${at} من ${duration}`,
    speed: (factor) => `السرعة: ${isolated(factor)}`,
    video: (name) => `الفيديو ${isolated(name)}`,
    unplayable: "لا يستطيع هذا المتصفح تشغيل الفيديو. نزّله.",
  },
  viewer: {
    label: "صور هذه الدردشة",
    previous: "السابق",
    next: "التالي",
    zoomIn: "تكبير",
    zoomOut: "تصغير",
    showInChat: "عرض في الدردشة",
    sentBy: (name, time) => `${isolated(name)}، ${time}`,
  },
  list: {
    title: "الصور والملفات والروابط",
    media: "الصور ومقاطع الفيديو",
    other: "الملفات",
    links: "الروابط",
    notLoaded: "تعذّر تحميل هذه القائمة.",
    none: "لا شيء هنا بعد",
    noneHint: "يظهر هنا ما يُرسَل في هذه الدردشة.",
  },
  sending: {
    attach: "إرفاق ملفات",
    attached: "الملفات المرفقة",
    count: (count) =>
      plural(count, {
        one: "أُرفق ملف واحد.",
        two: "أُرفق ملفان.",
        few: `أُرفقت ${number(count)} ملفات.`,
        many: `أُرفق ${number(count)} ملفًا.`,
        other: `أُرفق ${number(count)} ملف.`,
      }),
    remove: (name) => `إزالة ${isolated(name)}`,
    drop: "أفلت الملفات هنا لإرفاقها",
    library: "الصور ومقاطع الفيديو",
    camera: "الكاميرا",
    files: "الملفات",
    tooLarge: (name, size) => `الملف ${isolated(name)} كبير جدًا: الحد الأقصى لحجم الملف هو ${isolated(size)}.`,
    tooMany: (count) => `أقصى عدد من الملفات يمكنك إرفاقه هو ${number(count)}.`,
    original: "الإرسال بالجودة الأصلية",
    originalNote: "عندئذ يبقى الموقع وبيانات الكاميرا في الصور، لكل من تصل إليه.",
    notKept: (names, size) =>
      `تحتفظ المسودات في هذا المتصفح بملفات حجمها ${isolated(size)} على الأكثر. يُفقد عند إغلاق الصفحة قبل الإرسال: ${isolated(names)}.`,
    noRoomFor: (names) =>
      `مساحة التخزين في هذا المتصفح ممتلئة أو محظورة. يُفقد عند إغلاق الصفحة قبل الإرسال: ${isolated(names)}.`,
    lostFromDraft: (names, count) =>
      plural(count, {
        one: `لم يحتفظ هذا المتصفح بالملف ${isolated(names)}. أرفقه مرة أخرى.`,
        two: `لم يحتفظ هذا المتصفح بالملفين ${isolated(names)}. أرفقهما مرة أخرى.`,
        other: `لم يحتفظ هذا المتصفح بالملفات ${isolated(names)}. أرفقها مرة أخرى.`,
      }),
    ofFile: (name, reason) => `الملف ${isolated(name)}: ${reason}`,
    lost: "لم يحتفظ هذا المتصفح بالملف. أرفقه مرة أخرى.",
    unreadable: "تغيّر الملف أو حُذف على هذا الجهاز. أرفقه مرة أخرى.",
    blocked: "وجد الخادم برمجية خبيثة في الملف.",
    quota: "بلغت ملفاتك الحد المسموح به على هذا الخادم.",
    notAllowed: "لا يقبل الخادم ملفات من هذا النوع.",
  },
  voice: {
    label: "تسجيل رسالة صوتية",
    recording: "يجري تسجيل صوتك. أرسل التسجيل، أو اضغط Escape لإلغائه.",
    isFull: "بلغ التسجيل أطول مدة له. يمكنك إرساله.",
    hasEnded: "لم يعد استخدام الميكروفون ممكنًا. يمكنك إرسال التسجيل.",
    tooShort: "كان التسجيل قصيرًا جدًا ولم يُرسل.",
    cancel: "إلغاء التسجيل",
    notAllowed: "لا يُسمح لهذه الصفحة باستخدام الميكروفون. يمكنك السماح بذلك في إعدادات المتصفح.",
    noMicrophone: "تعذّر استخدام الميكروفون.",
  },
};
