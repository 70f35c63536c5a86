// Arabic: the texts of dialogs.

import { intl } from "../intl.js";

/** @import {DialogTexts} from "../dialogs.js" */

const { plural, number } = intl("ar");

/** A text of its own direction, such as a Latin name, that does not disturb the sentence. @param {string} text */
const isolated = (text) => `\u2068${text}\u2069`;

/** @type {DialogTexts} */
export const ar = {
  edits: {
    title: "سجل التعديلات",
    original: "النص الأصلي",
    notLoaded: "تعذّر تحميل سجل التعديلات.",
    newest: (count) => `لا تظهر هنا إلا أحدث التعديلات، وعددها ${number(count)}.`,
  },
  deletion: {
    title: "حذف هذه الرسالة؟",
    forMe: "حذف لدي",
    forMeHint: "الحذف لديك يزيلها من جميع أجهزتك، ويبقى بإمكان الآخرين رؤيتها.",
    forEveryone: "حذف لدى الجميع",
    forEveryoneHint: "الحذف لدى الجميع يزيلها مع تفاعلاتها لدى جميع أعضاء هذه الدردشة. لا يمكن التراجع عن ذلك.",
    cancel: "إلغاء",
    deletedForMe: "حُذفت الرسالة لديك.",
    undo: "تراجع",
  },
  forwarding: {
    title: "إعادة توجيه رسالة",
    chosen: "الدردشات المختارة",
    most: (count) =>
      plural(count, {
        one: "يمكنك اختيار دردشة واحدة.",
        two: "يمكنك اختيار دردشتين.",
        few: `يمكنك اختيار ${number(count)} دردشات كحد أقصى.`,
        other: `يمكنك اختيار ${number(count)} دردشة كحد أقصى.`,
      }),
    remove: (name) => `إزالة ${isolated(name)}`,
    recent: "أحدث الدردشات",
    send: "إعادة توجيه",
    forwardedTo: (names) => `أُعيد توجيه الرسالة إلى ${isolated(names)}.`,
    deleted: "حُذفت هذه الرسالة في هذه الأثناء ولا يمكن إعادة توجيهها.",
  },
  picker: {
    search: "البحث عن رمز تعبيري",
    loading: "جارٍ تحميل الرموز التعبيرية",
    none: "لم يُعثر على رموز تعبيرية",
    found: "النتائج",
    foundCount: (count) => `عدد الرموز التعبيرية: ${number(count)}`,
    groups: "المجموعات",
    recent: "المستخدمة مؤخرًا",
    smileys: "الوجوه والمشاعر",
    people: "الأشخاص",
    nature: "الحيوانات والطبيعة",
    food: "الطعام والشراب",
    travel: "السفر والأماكن",
    activities: "الأنشطة",
    objects: "الأشياء",
    symbols: "الرموز",
    flags: "الأعلام",
  },
  profile: {
    title: "الملف الشخصي",
    own: "ملفك الشخصي",
    name: "اسمك",
    about: "نبذة عنك",
    aboutHint: `حتى ${number(200)} حرف.`,
    save: "حفظ",
  },
  settings: {
    title: "الإعدادات",
    look: "المظهر",
    theme: "السمة",
    themeSystem: "حسب النظام",
    themeLight: "فاتحة",
    themeDark: "داكنة",
    textSize: "حجم النص",
    sizeSmall: "صغير",
    sizeNormal: "عادي",
    sizeLarge: "كبير",
    sizeLargest: "الأكبر",
    times: "تنسيق الوقت",
    timesSystem: "حسب النظام",
    hours: (count) =>
      plural(count, {
        one: "ساعة واحدة",
        two: "ساعتان",
        few: `${number(count)} ساعات`,
        other: `${number(count)} ساعة`,
      }),
    language: "اللغة",
    languageSystem: "حسب المتصفح",
    notifications: "الإشعارات",
    outside: "إشعارات خارج هذه الصفحة",
    unsupported: "لا يعرض هذا المتصفح إشعارات لهذه الصفحة، فهي تتطلب عنوانًا يبدأ بـ https.",
    blocked: "يحظر المتصفح الإشعارات لهذه الصفحة. اسمح بها في إعدادات الموقع ثم أعد تحميل الصفحة.",
    content: "إظهار المرسل والنص في الإشعارات",
    sound: "صوت عند وصول رسائل جديدة",
    privacy: "الخصوصية",
    typing: "إظهار أنني أكتب للآخرين",
  },
  signIns: {
    title: "الأجهزة التي سجّلت الدخول منها",
    hint: "يُحدَّث آخر ظهور للمتصفح المستخدم كل بضع دقائق.",
    endOthers: "تسجيل الخروج من جميع الأجهزة الأخرى",
    unnamed: "جهاز بلا اسم",
    here: "هذا المتصفح",
    lastSeen: (time) => `آخر ظهور: ${time}`,
    end: "تسجيل الخروج",
    endOf: (device) => `تسجيل الخروج من ${isolated(device)}`,
  },
  password: {
    title: "كلمة المرور",
    current: "كلمة المرور الحالية",
    new: "كلمة المرور الجديدة",
    show: "إظهار كلمات المرور",
    typeCurrent: "يرجى إدخال كلمة المرور الحالية.",
    change: "تغيير كلمة المرور",
    changed: "تم تغيير كلمة المرور، وتسجيل الخروج من جميع أجهزتك الأخرى.",
  },
  account: {
    title: "الحساب",
    signOut: "تسجيل الخروج",
    delete: "حذف الحساب…",
    deletion:
      "سيُحذف ملفك الشخصي وكلمة المرور وعمليات تسجيل الدخول نهائيًا. تبقى رسائلك، ولن يُستخدم اسم المستخدم الخاص بك مرة أخرى.",
    yourPassword: "كلمة المرور",
    deleteMine: "حذف حسابي",
    adminsStay: "لا يمكن حذف حساب مشرف هنا. يجب أولًا إلغاء صلاحية الإشراف على الخادم.",
  },
};
